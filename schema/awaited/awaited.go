// Package awaited tells the writers of history which records somebody waits
// for, so that these go into ClickHouse at once and all others in large blocks.
// It goes by NOTIFY in Postgres and is a hint: where one is lost, as behind a
// pooler that gives every transaction another connection, the records come as
// late as without.
package awaited

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const channel = "rollcall_history_awaited"

// Tell tells that the records below the offsets, by partition, are waited for.
func Tell(ctx context.Context, pool *pgxpool.Pool, until map[int32]int64) error {
	said := make([]string, 0, len(until))
	for partition, offset := range until {
		said = append(said, fmt.Sprint(partition, offset))
	}
	_, err := pool.Exec(ctx, `SELECT pg_notify($1, said) FROM unnest($2::text[]) AS said`, channel, said)
	return err
}

// Listen hands over what is told from now on, until ctx ends or Postgres fails;
// its error is never nil. What is no such hint is passed over. It has a
// connection of its own, beside those of the pool.
func Listen(ctx context.Context, pool *pgxpool.Pool, heard func(partition int32, until int64)) error {
	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(last)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		var partition int32
		var until int64
		if _, err := fmt.Sscan(n.Payload, &partition, &until); err == nil {
			heard(partition, until)
		}
	}
}

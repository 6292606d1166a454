package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/stanza"
)

// BenchmarkBroadcast measures from a broadcast's request until the last of those
// who are online has it on its socket.
func BenchmarkBroadcast(b *testing.B) {
	for _, n := range []int{200, 2000} {
		b.Run(fmt.Sprintf("online=%d", n), func(b *testing.B) {
			s := newStack(b, local.KafkaEmbedded)
			s.start(b)
			run := s.run(b)
			at := func(i int) login {
				return login{address: run.part(fmt.Sprintf("edge-%d", i%2+1)).Listen["starttls"], domain: run.Domain, resource: "hall"}
			}
			names := make([]string, n)
			for i := range names {
				names[i] = fmt.Sprintf("guest%04d", i)
			}
			if err := register(at(0), names); err != nil {
				b.Fatal(err)
			}
			var heard sync.WaitGroup // one for each client and broadcast
			hear := func(_ *session, st *stanza.Stanza) {
				if st.Kind == stanza.Message {
					heard.Done()
				}
			}
			clients := make([]*session, n)
			var g errgroup.Group
			g.SetLimit(16)
			for i, name := range names {
				g.Go(func() (err error) {
					l := at(i)
					l.user = name
					if clients[i], err = connect(l, hear); err == nil {
						err = clients[i].send("<presence/>")
					}
					return err
				})
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
			db, err := pgx.Connect(b.Context(), run.PostgresURL)
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close(b.Context())
			door := newService(b, s, "broadcast:send")
			send := func() (total float64) {
				heard.Add(n)
				status, answer := door.do(b, "POST", "/v1/broadcast", `{"audience":"online","type":"headline","body":"x"}`)
				if status != http.StatusAccepted {
					b.Fatal(status, answer)
				}
				return answer["total"].(float64)
			}
			eventually(b, "all are online", time.Minute, func() error {
				var online int
				err := db.QueryRow(b.Context(), `SELECT count(*) FROM views.resource WHERE available`).Scan(&online)
				if err == nil && online != n {
					err = fmt.Errorf("%d are", online)
				}
				return err
			})
			for b.Loop() {
				if total := send(); total != float64(n) {
					b.Fatalf("it is for %v", total)
				}
				heard.Wait()
			}
			b.StopTimer()
			for _, c := range clients {
				c.cut()
			}
			s.stop(b)
		})
	}
}

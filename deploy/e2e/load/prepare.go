//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// streams is how many streams register accounts at the same time.
const streams = 8

// register makes accounts: name(0) to name(n-1). A marker file in the data
// directory says that they are there, so a second time costs nothing.
func register(ctx context.Context, r *run, group string, n int, name func(int) string) (took time.Duration, err error) {
	marker := filepath.Join(r.dir(), fmt.Sprintf("load-%s-%d", group, n))
	if _, err := os.Stat(marker); err == nil {
		return 0, nil
	}
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for first := range streams {
		g.Go(func() error {
			t, err := dial(r.plain(first%r.edges()), r.Domain, 1+first, false)
			if err != nil {
				return err
			}
			defer t.conn.Close()
			if err := t.open(); err != nil {
				return err
			}
			for i := first; i < n && ctx.Err() == nil; i += streams {
				if err := t.conn.SetDeadline(time.Now().Add(loginIn)); err != nil {
					return err
				}
				if err := t.register(name(i)); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	took = time.Since(began)
	note("%d accounts were made in %.1f s", n, took.Seconds())
	return took, os.WriteFile(marker, nil, 0o644)
}

// prepare makes the users of a circle friends of each other, by what clients
// say: everyone asks each friend, and then grants what each asked. It does
// nothing where the marker file says that it has been done.
func prepare(ctx context.Context, r *run, c circle, keys *keyring, out *report) error {
	marker := filepath.Join(r.dir(), fmt.Sprintf("load-friends-%d-%d", c.Users, c.Friends))
	if _, err := os.Stat(marker); err == nil {
		return nil
	}
	took, err := register(ctx, r, fmt.Sprintf("users-%dx", c.Friends), c.Users, c.name)
	if err != nil {
		return err
	}
	if took > 0 {
		out.add("accounts", float64(c.Users), "")
		out.add("registrations", float64(c.Users)/took.Seconds(), "a second")
	}
	w, err := newCrowd(r, c, keys)
	if err != nil {
		return err
	}
	from, err := r.measure()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := w.enter(ctx, 64, "<presence id='first'/>", nil); err != nil {
		return err
	}
	note("everyone is online after %.1f s", time.Since(began).Seconds())
	began = time.Now()
	pairs := int64(c.Users) * int64(c.Friends)
	for i, verb := range []string{"subscribe", "subscribed"} {
		phase := time.Now()
		if err := w.tellFriends(ctx, verb); err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
		note("%d %ss are acknowledged after %.1f s", pairs, verb, time.Since(phase).Seconds())
		if err := w.reach(ctx, func() int64 { return w.subs[i].Load() }, pairs, verb); err != nil {
			return err
		}
		out.add(verb+": acknowledged, folded and delivered", float64(pairs)/time.Since(phase).Seconds(), "a second")
	}
	if err := w.await(ctx, w.allRight, time.Minute, func() string { return fmt.Sprintf("%d of %d views are right", w.right.Load(), w.Users) }); err != nil {
		return err
	}
	took = time.Since(began)
	to, err := r.measure()
	if err != nil {
		return err
	}
	out.add("friendships", float64(pairs/2), "")
	out.add("until everyone sees every friend", took.Seconds(), "s")
	out.cpu(from, to, pairs/2, "friendship")
	note("%d friendships were made in %.1f s", pairs/2, took.Seconds())
	if err := w.leave(); err != nil {
		return err
	}
	return os.WriteFile(marker, nil, 0o644)
}

// talkers is how many clients are saying something unacknowledged.
const talkers = 32

// tellFriends has everyone send a verb to each friend, and returns when the
// server has acknowledged all.
func (w *crowd) tellFriends(ctx context.Context, verb string) error {
	sent, answered := 0, 0
	for answered < w.Users {
		for sent < w.Users && sent-answered < talkers {
			var b strings.Builder
			for k := range w.Friends {
				fmt.Fprintf(&b, "<presence type='%s' to='%s@%s'/>", verb, w.name(w.friend(sent, k)), w.run.Domain)
			}
			b.WriteString("<iq type='get' id='sent'><ping xmlns='urn:xmpp:ping'/></iq>")
			if err := w.members[sent].session.write([]byte(b.String())); err != nil {
				return err
			}
			sent++
		}
		select {
		case <-w.pongs:
			answered++
		case err := <-w.errors:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Minute):
			return fmt.Errorf("%d of %d users were answered, and none in the last minute", answered, w.Users)
		}
	}
	return nil
}

// reach waits while a count still grows towards what it must be.
func (w *crowd) reach(ctx context.Context, count func() int64, want int64, what string) error {
	last, since := count(), time.Now()
	for {
		now := count()
		switch {
		case now >= want:
			return nil
		case now > last:
			last, since = now, time.Now()
		case time.Since(since) > time.Minute:
			return fmt.Errorf("%d of %d %ss arrived, and none in the last minute", now, want, what)
		}
		select {
		case err := <-w.errors:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

//go:build linux

package main

import "testing"

func TestCircle(t *testing.T) {
	for _, c := range []circle{{3, 2}, {7, 4}, {100, 50}} {
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		for user := range c.Users {
			seen := make(map[int]bool)
			for k := range c.Friends {
				other := c.friend(user, k)
				if other == user || seen[other] || c.place(user, other) != k || c.place(other, user) < 0 {
					t.Fatalf("%+v: friend %d of %d is %d", c, k, user, other)
				}
				seen[other] = true
			}
			for other := range c.Users {
				if place := c.place(user, other); (place >= 0) != seen[other] {
					t.Fatalf("%+v: %d has %d in place %d", c, user, other, place)
				}
			}
		}
	}
	for _, c := range []circle{{2, 2}, {10, 3}, {10, 0}} {
		if c.check() == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

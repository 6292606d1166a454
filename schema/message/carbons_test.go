package message

import (
	"fmt"
	"testing"
)

// XEP-0280, section 6.1, and XEP-0334, section 4.3.
func TestCopied(t *testing.T) {
	for _, c := range []struct {
		name    string
		content Content
		want    string // of Normal, Chat, Headline, Groupchat, Error: "-", (s)ent, (a)ll
	}{
		{"nothing", Content{}, "-a---"},
		{"body", Content{Body: true}, "aa---"},
		{"something else", Content{Other: true}, "-a---"},
		{"receipt, chat state or marker", Content{Messaging: true}, "aaa--"},
		{"invitation", Content{Invitation: true, Room: true}, "aaa--"},
		{"from an occupant of a room", Content{Body: true, Room: true}, "sss--"},
		{"private", Content{Body: true, Private: true, Messaging: true}, "-----"},
		{"no-copy", Content{Body: true, NoCopy: true, Invitation: true}, "-----"},
		{"a copy", Content{Body: true, Copy: true}, "-----"},
		{"not to be kept", Content{Body: true, NoStore: true}, "aa---"},
	} {
		for i, kind := range []Type{Normal, Chat, Headline, Groupchat, Error} {
			t.Run(fmt.Sprintf("XEP-0280 6.1 %s, type %d", c.name, kind), func(t *testing.T) {
				want := map[byte]Copies{'-': NoCopies, 's': SentCopies, 'a': AllCopies}[c.want[i]]
				got := Copied(kind, c.content)
				if got != want {
					t.Errorf("%d, want %d", got, want)
				}
				if got.ToSender() != (c.want[i] != '-') || got.ToReceiver() != (c.want[i] == 'a') {
					t.Errorf("to sender %v, to receiver %v", got.ToSender(), got.ToReceiver())
				}
			})
		}
	}
	if Copied(0, Content{Body: true}) != AllCopies {
		t.Error("5.2.2 no type is normal")
	}
}

func TestRecent(t *testing.T) {
	var none *Recent
	if none.Answers("a@x", "1") {
		t.Error("nothing was sent")
	}
	var r Recent
	r.Note("a@x", "")
	if r.Answers("a@x", "") || r.Answers("", "") {
		t.Error("an error without an id answers nothing")
	}
	for n := range maxRecent + 1 {
		r.Note("a@x", fmt.Sprint(n))
	}
	if r.Answers("a@x", "0") {
		t.Error("the oldest is remembered")
	}
	for n := 1; n <= maxRecent; n++ {
		if !r.Answers("a@x", fmt.Sprint(n)) {
			t.Errorf("%d is forgotten", n)
		}
	}
	if r.Answers("b@x", "1") {
		t.Error("the answer of another")
	}
}

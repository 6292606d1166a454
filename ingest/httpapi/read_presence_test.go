package httpapi

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"

	"github.com/rollcall/rollcall/deploy/local/localtest"
)

func TestPresenceAndFriendsAndRoster(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), false)
	l.account(8, "juliet@localhost", "romeo@localhost", "nurse@localhost", "tybalt@localhost", "ödön@localhost")
	l.resource("juliet@localhost", "balcony", "away", "♥ \"quoted\"", 5)
	l.resource("juliet@localhost", "chamber", "", "", 7)
	l.resource("nurse@localhost", "hall", "", "", 0)
	l.resource("tybalt@localhost", "street", "dnd", "", -1)
	l.execute(`INSERT INTO views.hidden VALUES ('tybalt@localhost', 'street', '')`,
		`UPDATE views.account SET left_at = '2026-11-24T19:00:00Z', left_status = 'gone' WHERE account IN ('tybalt@localhost', 'romeo@localhost')`,
		`UPDATE views.account SET left_at = NULL WHERE account = 'nurse@localhost'`)
	for contact, state := range map[string]int{"juliet@localhost": 3, "nurse@localhost": 2, "tybalt@localhost": 2} { // they let romeo see
		l.execute(fmt.Sprintf(`INSERT INTO views.roster_item VALUES ('%s', 'romeo@localhost', '', '{}', %d, 1, false, NULL)`, contact, state))
	}
	l.execute(`INSERT INTO views.roster_item VALUES
('romeo@localhost', 'juliet@localhost', 'Juliet', '{Friends,Capulets}', 3, 6, false, NULL),
('romeo@localhost', 'nurse@localhost', '', '{}', 1, 5, false, NULL),
('romeo@localhost', 'paris@localhost', '', '{}', 20, 4, false, NULL),
('romeo@localhost', 'rosaline@localhost', '', '{}', 0, 3, true, NULL),
('romeo@localhost', 'tybalt@localhost', '', '{}', 0, 2, false, NULL)`)

	var p presenceView
	l.get("/v1/accounts/juliet@localhost/presence", 200, &p)
	if !p.Available || len(p.Resources) != 2 || p.Left != nil || p.Position != fmt.Sprintf("%d:7", partitionOf("juliet@localhost")) ||
		p.Resources[0].Resource != "chamber" || p.Resources[1].Status != "♥ \"quoted\"" || p.Resources[1].Show != "away" || p.Resources[1].Since.Nanosecond() != 1000 {
		t.Errorf("juliet: %+v", p)
	}
	for name, left := range map[string]bool{"tybalt@localhost": true, "romeo@localhost": true, "ödön@localhost": false} {
		p = presenceView{}
		l.get("/v1/accounts/"+url.PathEscape(name)+"/presence", 200, &p)
		if p.Available || len(p.Resources) != 0 || (p.Left != nil) != left || left && p.Left.Status != "gone" {
			t.Errorf("%s: %+v", name, p)
		}
	}

	var seen []string
	pages := 0
	for next := ""; pages == 0 || next != ""; pages++ {
		var f friendsView
		l.get("/v1/accounts/romeo@localhost/friends/online?limit=1"+next, 200, &f)
		for _, r := range f.Friends {
			seen = append(seen, r.Contact+"/"+r.Resource)
		}
		if next = f.Next; next != "" {
			next = "&cursor=" + next
		}
	}
	if want := "[juliet@localhost/balcony juliet@localhost/chamber nurse@localhost/hall]"; fmt.Sprint(seen) != want || pages != 3 {
		t.Errorf("romeo sees %v on %d pages, want %s", seen, pages, want)
	}

	var all []itemView
	for next := "?limit=3"; next != ""; {
		var page rosterView
		l.get("/v1/accounts/romeo@localhost/roster"+next, 200, &page)
		all = append(all, page.Items...)
		if next = page.Next; next != "" {
			next = "?limit=3&cursor=" + next
		}
	}
	text, err := json.Marshal(all)
	if want := `[{"contact":"juliet@localhost","name":"Juliet","groups":["Friends","Capulets"],"subscription":"both","ask":false,"approved":false,"version":6},` +
		`{"contact":"nurse@localhost","groups":[],"subscription":"to","ask":false,"approved":false,"version":5},` +
		`{"contact":"paris@localhost","groups":[],"subscription":"none","ask":true,"approved":true,"version":4},` +
		`{"contact":"tybalt@localhost","groups":[],"subscription":"none","ask":false,"approved":false,"version":2}]`; err != nil || string(text) != want {
		t.Errorf("romeo's roster is\n%s, want\n%s", text, want)
	}
}

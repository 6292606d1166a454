package docs

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/rollcall/rollcall/deploy/local/localtest"
)

// archive gives a connection to an empty archive.
func archive(t *testing.T) driver.Conn {
	t.Helper()
	return localtest.Tables(t, localtest.ClickHouse(t))
}

// lines gives the rows of a query, their columns as text with a blank between.
func lines(t *testing.T, conn driver.Conn, query string) (all []string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT arrayStringConcat(arrayMap(c -> toString(c), [COLUMNS('.*') APPLY toString]), ' ') FROM ("+query+")")
	if err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// analytics gives the lines of ANALYTICS.md.
func analytics(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("ANALYTICS.md")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

var viewHeading = regexp.MustCompile("^### `(\\w+)`$")

// documented gives what ANALYTICS.md says of each view: its first line, then a
// line for each column with its type and meaning.
func documented(t *testing.T) map[string][]string {
	views := make(map[string][]string)
	view := ""
	for _, line := range analytics(t) {
		switch row := cells(line); {
		case viewHeading.MatchString(line):
			view = viewHeading.FindStringSubmatch(line)[1]
		case strings.HasPrefix(line, "#"):
			view = ""
		case view == "":
		case row != nil && row[0] != "column":
			views[view] = append(views[view], strings.Join(row, " | "))
		case line != "" && row == nil && views[view] == nil:
			views[view] = append(views[view], line)
		}
	}
	return views
}

// TestAnalyticsAgreesWithTheViews: every view of the archive and every column
// of it is in ANALYTICS.md as the engine describes it, and no other.
func TestAnalyticsAgreesWithTheViews(t *testing.T) {
	conn := archive(t)
	described := make(map[string][]string)
	for _, line := range lines(t, conn, "SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND engine = 'View'") {
		name, comment, _ := strings.Cut(line, " ")
		described[name] = append(described[name], comment+".")
		for _, column := range lines(t, conn, "SELECT concat('`', name, '` | `', type, '` | ', comment) FROM system.columns WHERE database = currentDatabase() AND table = '"+name+"' ORDER BY position") {
			described[name] = append(described[name], strings.ReplaceAll(column, `\'`, "'"))
		}
	}
	said := documented(t)
	if len(said) < 5 {
		t.Fatalf("ANALYTICS.md has %d views", len(said))
	}
	for name := range maps.Keys(said) {
		if described[name] == nil {
			t.Errorf("there is no view %s", name)
		}
	}
	for name, want := range described {
		if !slices.Equal(said[name], want) {
			t.Errorf("ANALYTICS.md says of %s\n%s\nthe engine\n%s", name, strings.Join(said[name], "\n"), strings.Join(want, "\n"))
		}
	}
}

// queries gives the queries of ANALYTICS.md by their heading.
func queries(t *testing.T) map[string]string {
	found := make(map[string]string)
	heading, inside := "", false
	for i, line := range analytics(t) {
		switch {
		case inside && line == "```":
			inside = false
		case inside:
			found[heading] += line + "\n"
		case line == "```sql":
			if _, twice := found[heading]; twice || heading == "" {
				t.Errorf("line %d: a query without a heading of its own", i+1)
			}
			inside = true
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimLeft(line, "# ")
		}
	}
	return found
}

// TestAnalyticsQueries runs the ten queries of ANALYTICS.md on a generated week
// and compares with what is true of that week.
func TestAnalyticsQueries(t *testing.T) {
	conn := archive(t)
	v := newVerona(1)
	v.store(t, conn)
	answers, asked := v.answers(), queries(t)
	if len(asked) != 10 || len(answers) != 10 {
		t.Errorf("%d queries, %d answers", len(asked), len(answers))
	}
	for heading, query := range asked {
		t.Run(heading, func(t *testing.T) {
			want := answers[heading]
			if len(want) == 0 {
				t.Fatal("no answer is known")
			}
			if got := lines(t, conn, query); !slices.Equal(got, want) {
				t.Errorf("%sgives\n%s\nwant\n%s", query, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// answers gives what each query must answer, by its heading.
func (v *verona) answers() map[string][]string {
	const juliet = "juliet@localhost"
	answers := make(map[string][]string)
	say := func(heading, format string, values ...any) {
		answers[heading] = append(answers[heading], fmt.Sprintf(format, values...))
	}
	total := func(of map[string]map[string]int, account string) (sum int) {
		for _, n := range of[account] {
			sum += n
		}
		return sum
	}
	for _, day := range v.days() {
		if sent, received, logins, presences := v.sent[juliet][day], v.received[juliet][day], v.logins[juliet][day], v.presences[juliet][day]; sent+received+logins+presences > 0 {
			say("What an account did, day by day", "%s %d %d %d %d", day, sent, received, logins, presences)
		}
		if minutes := v.online(juliet, day) / time.Minute; v.online(juliet, day) > 0 {
			say("How long an account was online", "%s %d", day, minutes)
		}
		if most, minute := v.peak(day); minute != "" {
			say("The busiest minute of each day", "%s %s %d", day, minute, most)
		}
		logins, accounts, deliveries := 0, 0, 0
		for _, account := range v.accounts {
			logins += v.logins[account][day]
			accounts += min(v.logins[account][day], 1)
			deliveries += v.presences[account][day] * v.sizes[day][account]
		}
		say("Logins and who logged in", "%s %d %d", day, logins, accounts)
		say("How many notifications presence made", "%s %d", day, deliveries)
	}
	peers := slices.Clone(v.accounts)
	talk := func(peer string) int { both := v.pairs[[2]string{juliet, peer}]; return both[0] + both[1] }
	slices.SortFunc(peers, func(a, b string) int { return cmp.Or(talk(b)-talk(a), cmp.Compare(a, b)) })
	for _, peer := range peers[:5] {
		both := v.pairs[[2]string{juliet, peer}]
		say("Whom an account talks with", "%s %d %d", peer, both[0], both[1])
	}
	ranked := func(of func(account string) int) []string {
		all := slices.DeleteFunc(slices.Clone(v.accounts), func(a string) bool { return of(a) == 0 })
		slices.SortFunc(all, func(a, b string) int { return cmp.Or(of(b)-of(a), cmp.Compare(a, b)) })
		return all
	}
	for _, account := range ranked(func(a string) int { return total(v.sent, a) }) {
		say("Who writes most", "%s %d", account, total(v.sent, account))
	}
	for _, account := range ranked(func(a string) int { return len(v.waiting[a]) }) {
		senders, since := make(map[string]bool), time.Time{}
		for _, w := range v.waiting[account] {
			senders[w.from] = true
			if since.IsZero() || w.at.Before(since) {
				since = w.at
			}
		}
		say("What waits, for whom and since when", "%s %d %d %s", account, len(v.waiting[account]), len(senders), since.Format("2006-01-02 15:04:05.000000"))
	}
	middle := dayOf(firstDay.AddDate(0, 0, 3))
	for _, account := range ranked(func(a string) int { return v.sizes[middle][a] }) {
		say("Who had the largest audience on a day", "%s %d", account, v.sizes[middle][account])
	}
	for _, s := range v.storms() {
		say("Storms", "%s", s)
	}
	return answers
}

// online gives for how long on a day the account had an available resource,
// counted millisecond by millisecond, which is what all times are cut to.
func (v *verona) online(account, day string) time.Duration {
	from, _ := time.Parse("2006-01-02", day)
	on := make([]bool, 24*60*60*1000)
	for _, s := range v.spans {
		if s.account != account {
			continue
		}
		begin, end := max(s.from.Sub(from).Milliseconds(), 0), int64(len(on))
		if !s.to.IsZero() {
			end = min(s.to.Sub(from).Milliseconds(), end)
		}
		for ms := begin; ms < end; ms++ {
			on[ms] = true
		}
	}
	n := 0
	for _, is := range on {
		if is {
			n++
		}
	}
	return time.Duration(n) * time.Millisecond
}

// peak gives the most resources that were available at a time on a day, and
// the first minute in which they were.
func (v *verona) peak(day string) (most int, minute string) {
	at := func(t time.Time) (n int) {
		for _, s := range v.spans {
			if !s.from.After(t) && (s.to.IsZero() || s.to.After(t)) {
				n++
			}
		}
		return n
	}
	from, _ := time.Parse("2006-01-02", day)
	// It can only rise where a span begins.
	moments := []time.Time{from}
	for _, s := range v.spans {
		if dayOf(s.from) == day {
			moments = append(moments, s.from)
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	for _, t := range moments {
		if n := at(t); n > most {
			most, minute = n, t.Truncate(time.Minute).Format("2006-01-02 15:04:05")
		}
	}
	return most, minute
}

// storms gives the storms as the view's definition says, minute by minute.
func (v *verona) storms() (all []string) {
	logins := make(map[int64]int)
	for _, t := range v.loginAt {
		logins[t.Unix()/60]++
	}
	usual := func(minute int64) int {
		var hour []int
		for m := minute - 60; m < minute; m++ {
			hour = append(hour, logins[m])
		}
		slices.Sort(hour)
		return hour[29]
	}
	stormy := func(minute int64) bool { return logins[minute] > 10 && logins[minute] > 5*usual(minute) }
	for m := firstDay.Unix() / 60; m < lastDay.AddDate(0, 0, 1).Unix()/60; m++ {
		if !stormy(m) || stormy(m-1) {
			continue
		}
		lasted, sum, peak := 0, 0, 0
		for ; stormy(m + int64(lasted)); lasted++ {
			sum += logins[m+int64(lasted)]
			peak = max(peak, logins[m+int64(lasted)])
		}
		all = append(all, fmt.Sprintf("%s %d %d %d %d", time.Unix(60*m, 0).UTC().Format("2006-01-02 15:04:05"), lasted, sum, peak, usual(m)))
	}
	return all
}

package pushes

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
)

// BenchmarkTakeAndSettle has an edge take what 256 accounts are to be told, of
// so many that wait, and settle it.
func BenchmarkTakeAndSettle(b *testing.B) {
	for _, waiting := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			q := opened(b)
			q.exec(`INSERT INTO views.push SELECT 'u' || n || '@x', 'push.x', 'n', 1, '' FROM generate_series(1, $1::int) n`, waiting)
			q.exec(`INSERT INTO views.inbox (account, "offset", id, at, sender, resource, accepted)
				SELECT 'u' || n || '@x', n, gen_random_uuid(), now(), 'romeo@x/r', '', '' FROM generate_series(1, $1::int) n`, waiting)
			q.exec(`INSERT INTO run.push (account, service, node, "offset", domain)
				SELECT 'u' || n || '@x', 'push.x', 'n', n, 'push.x' FROM generate_series(1, $1::int) n`, waiting)
			q.exec(`ANALYZE run.push; ANALYZE views.push; ANALYZE views.inbox`)
			for b.Loop() {
				got := q.take(256, time.Minute)
				if len(got) != 256 {
					b.Fatal(len(got))
				}
				settled := make([]edge.SettledPush, len(got))
				for i := range got {
					settled[i] = edge.SettledPush{Push: got[i], Again: true} // due again at once
				}
				q.settle(settled...)
			}
			b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
		})
	}
}

package edge

import (
	"testing"
	"time"
)

// However many logins fail, the log stays readable, and tells how many there were.
func TestRefusedLoginsDoNotFillTheLog(t *testing.T) {
	var r refusals
	now := time.Unix(1, 0)
	lines, count := 0, 0
	for i := range 100_000 {
		ok, more := r.told(now.Add(time.Duration(i) * 100 * time.Microsecond)) // for ten seconds
		if ok {
			lines++
			count += 1 + more
		}
	}
	if lines < refusalsAtOnce || lines > refusalsAtOnce+10*refusalsASecond || count+r.more != 100_000 {
		t.Errorf("%d lines of %d, %d more", lines, count, r.more)
	}
}

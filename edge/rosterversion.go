package edge

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall/rollcall/edge/stanza"
)

// What a roster push costs beside its item, and an item beside its texts, in
// bytes; about.
const (
	pushCost = 150
	itemCost = 40
)

// current gives the version of the roster: the newest offset that changed what
// clients see of it, or that began it.
func (r *Roster) current() int64 {
	v := max(r.Created, r.Purged)
	for _, it := range r.Items {
		v = max(v, it.Version)
	}
	return v
}

// tag sets the versions of an account apart from those of an earlier account
// of the same name, and of an earlier log.
func (r *Roster) tag() string { return strconv.FormatInt(r.CreatedAt%(36*36*36*36*36), 36) }

// versionText gives a version as clients see it (RFC 6121, section 2.1.1).
func versionText(version int64, tag string) string {
	return strconv.FormatInt(version, 10) + "-" + tag
}

// since gives the items that changed after a client got the version that it
// names, in the order of their changes: removed ones too. It is not ok if the
// client needs the whole roster: because nobody knows any more what changed
// since, or because the whole is smaller (RFC 6121, section 2.6.3).
func (r *Roster) since(ver string) (changed []RosterItem, ok bool) {
	digits, _, _ := strings.Cut(ver, "-")
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || versionText(v, r.tag()) != ver || v < r.Created || v < r.Purged || v > r.current() {
		return nil, false
	}
	whole, part := 0, 0
	for _, it := range r.Items {
		size := itemCost + len(it.GetContact()) + len(it.GetName())
		for _, g := range it.GetGroups() {
			size += len("<group></group>") + len(g)
		}
		if !it.GetRemoved() {
			whole += size
		}
		if it.Version > v {
			part += pushCost + size
			changed = append(changed, it)
		}
	}
	if len(changed) > 0 && part > whole+pushCost {
		return nil, false
	}
	slices.SortFunc(changed, func(a, b RosterItem) int { return cmp.Compare(a.Version, b.Version) })
	return changed, true
}

// whole gives the payload of a result with all items.
func (r *Roster) whole() []byte {
	q := stanza.New(stanza.NSRoster, "query", "ver", versionText(r.current(), r.tag()))
	for _, it := range r.Items {
		if !it.GetRemoved() {
			q.Add(rosterItem(it.RosterItem))
		}
	}
	return q.Bytes()
}

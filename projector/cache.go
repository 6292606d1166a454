package projector

import (
	"container/list"

	"github.com/rollcall/rollcall/schema/account"
)

// An entry is an account in memory. Its state is ahead of Postgres by what the
// open unit and the one in flight hold.
type entry struct {
	key       string
	partition int32
	state     *account.State
	weight    int    // about how many rows it has
	unit      uint64 // the last unit that changed it
	touched   bool   // it is in the open unit's list
	place     *list.Element
}

// A cache holds the accounts used last. An account that is not here has no
// change that Postgres has not, so it can be loaded. The fold loop owns it.
type cache struct {
	limit   int // rows
	weight  int
	entries map[string]*entry
	order   *list.List // of *entry, the least recently used first
}

func newCache(limit int) *cache {
	return &cache{limit: limit, entries: make(map[string]*entry), order: list.New()}
}

// get gives the entry of key, nil if there is none.
func (c *cache) get(key string) *entry {
	e := c.entries[key]
	if e != nil {
		c.order.MoveToBack(e.place)
	}
	return e
}

func (c *cache) add(key string, partition int32, s *account.State) *entry {
	e := &entry{key: key, partition: partition, state: s}
	e.place = c.order.PushBack(e)
	c.entries[key] = e
	c.weigh(e)
	return e
}

// weigh takes note of how large e has become.
func (c *cache) weigh(e *entry) {
	s := e.state
	now := 1 + len(s.Roster) + len(s.Resources) + len(s.Inbox) + len(s.Storage) + len(s.Push)
	now += (len(s.Origins) + 15) / 16
	for _, n := range s.Nodes {
		now += 1 + len(n.Items)
	}
	c.weight += now - e.weight
	e.weight = now
}

// shrink drops what was not used for longest, down to the limit. What a unit
// after committed changed has to stay.
func (c *cache) shrink(committed uint64) {
	for at := c.order.Front(); at != nil && c.weight > c.limit; {
		e := at.Value.(*entry)
		at = at.Next()
		if e.unit <= committed && !e.touched {
			c.drop(e)
		}
	}
}

func (c *cache) drop(e *entry) {
	c.weight -= e.weight
	c.order.Remove(e.place)
	delete(c.entries, e.key)
}

// clear drops the accounts of partition.
func (c *cache) clear(partition int32) {
	for _, e := range c.entries {
		if e.partition == partition {
			c.drop(e)
		}
	}
}

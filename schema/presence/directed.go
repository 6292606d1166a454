package presence

import (
	"maps"
	"slices"
)

// Directed tells of each resource, by its name, to whom it sent directed
// available presence: bare or full JIDs. They must hear when it becomes
// unavailable (RFC 6121, section 4.6.3). Use Add to put a target in; the zero
// value reads as empty.
type Directed map[string]map[string]struct{}

// Has tells whether target is noted.
func (d Directed) Has(resource, target string) bool {
	_, there := d[resource][target]
	return there
}

// Add notes target; it tells whether that is new.
func (d *Directed) Add(resource, target string) bool {
	targets := (*d)[resource]
	if targets == nil {
		if *d == nil {
			*d = make(Directed)
		}
		targets = make(map[string]struct{})
		(*d)[resource] = targets
	}
	if _, there := targets[target]; there {
		return false
	}
	targets[target] = struct{}{}
	return true
}

// Remove forgets target; it tells whether it was noted.
func (d Directed) Remove(resource, target string) bool {
	targets := d[resource]
	if _, there := targets[target]; !there {
		return false
	}
	delete(targets, target)
	if len(targets) == 0 {
		delete(d, resource)
	}
	return true
}

// Take forgets all targets of resource and gives them, sorted.
func (d Directed) Take(resource string) []string {
	targets := d[resource]
	if len(targets) == 0 {
		return nil
	}
	delete(d, resource)
	return slices.Sorted(maps.Keys(targets))
}

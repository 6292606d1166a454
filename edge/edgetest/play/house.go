package play

import (
	"errors"
	"fmt"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

// House is a Server in memory.
type House struct {
	*edgetest.House
	options []edge.Options
	edges   []*edgetest.Edge
	dead    []*edgetest.Edge
}

// NewHouse starts a house with edges.
func NewHouse(domain string, partitions int, options ...edge.Options) (*House, error) {
	h := &House{House: edgetest.NewHouse(domain, partitions), options: options}
	h.Doubt()
	for i := range options {
		e, err := h.Open(h.options[i])
		if err != nil {
			return nil, err
		}
		h.edges = append(h.edges, e)
	}
	return h, nil
}

// End stops everything.
func (h *House) End() (err error) {
	for _, e := range h.edges {
		err = errors.Join(err, e.Stop())
	}
	for _, e := range h.dead {
		if werr := e.Wait(); !errors.Is(werr, edge.ErrLost) {
			err = errors.Join(err, werr)
		}
	}
	h.Close()
	return err
}

// Dial implements Server.
func (h *House) Dial(at int, user, resource string) (*edgetest.Client, error) {
	return edgetest.Dial(edgetest.ClientOptions{Address: h.edges[at].Addr(0).String(), User: user, Resource: resource})
}

// Gone implements Server.
func (h *House) Gone(full string) error {
	deadline := time.Now().Add(10 * time.Second)
	for h.Bound(full) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is bound still", full)
		}
		time.Sleep(50 * time.Microsecond)
	}
	return h.Settle()
}

// Kill implements Server.
func (h *House) Kill(at int) error {
	h.edges[at].Kill()
	h.dead = append(h.dead, h.edges[at])
	e, err := h.Open(h.options[at])
	if err != nil {
		return err
	}
	h.edges[at] = e
	return h.Settle()
}

// Settle implements Server.
func (h *House) Settle() error {
	h.Quiet()
	return nil
}

// Waiting implements Server.
func (h *House) Waiting(user string) (int, error) { return h.House.Waiting(user), nil }

package stanza

import "iter"

// inherited gives the namespace that the element has if it declares none.
func (c Child) inherited() string {
	if c.scope == "" {
		return NSClient
	}
	return c.scope
}

// Children gives the elements directly inside the element, in order.
func (c Child) Children() iter.Seq[Child] {
	return func(yield func(Child) bool) {
		space := c.Space()
		for inside := range Children(c.inner) {
			inside.scope = space
			if !yield(inside) {
				return
			}
		}
	}
}

// First gives the first element directly inside the element that has this name.
func (c Child) First(space, local string) (Child, bool) {
	for inside := range c.Children() {
		if inside.Is(space, local) {
			return inside, true
		}
	}
	return Child{}, false
}

// Declared gives the element with its namespace declared, so that it means the
// same wherever it is put.
func (c Child) Declared() []byte {
	if _, ok := rawAttr(c.start, "xmlns"); ok {
		return c.Raw
	}
	name := len(c.name()) + 1 // with the <
	out := make([]byte, 0, len(c.Raw)+len(c.inherited())+10)
	out = append(out, c.Raw[:name]...)
	out = appendAttr(out, "xmlns", c.inherited())
	return append(out, c.Raw[name:]...)
}

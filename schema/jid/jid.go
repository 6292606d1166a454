// Package jid holds XMPP addresses (RFC 7622) as comparable values. A Bare is
// localpart@domainpart or a mere domainpart, a Full has a resourcepart too,
// and a JID is either. Whatever was made by a Parse function is canonical:
// two addresses are the same if and only if the values are ==, so each may be
// the key of a map, and String costs nothing.
package jid

import (
	"fmt"
	"strings"
)

// MaxPart is the longest that a canonical part may be, in bytes (RFC 7622,
// sections 3.2 to 3.4).
const MaxPart = 1023

// An Error tells why a string is no address. Its stanza error is
// jid-malformed (RFC 6120, section 8.3.3.8).
type Error struct {
	Part string // "localpart", "domainpart" or "resourcepart"
	Text string // that part, or the whole string if it could not be divided
	Why  string
}

// Error names the part and the fault.
func (e *Error) Error() string {
	text := e.Text
	if len(text) > 64 {
		text = text[:64] + "…"
	}
	return fmt.Sprintf("jid: %s %q %s", e.Part, text, e.Why)
}

// A Bare is an address without a resourcepart: of an account, or of a domain.
// The zero Bare is no address.
type Bare struct {
	text  string
	local uint16 // length of the localpart; 0 if there is none
}

// A Full is an address with a resourcepart: of one session of an account.
// The zero Full is no address.
type Full struct {
	text  string
	local uint16 // length of the localpart; 0 if there is none
	bare  uint16 // length of what comes before the slash
}

// A JID is a Bare or a Full. The zero JID is no address.
type JID struct {
	text  string
	local uint16 // length of the localpart; 0 if there is none
	bare  uint16 // length of what comes before the slash, of the whole if there is none
}

// Parse reads a bare or full JID and makes it canonical; its errors are
// *Error. RFC 7622, section 3.
func Parse(s string) (JID, error) {
	rest, resource, full := strings.Cut(s, "/")
	local, domain, hasLocal := strings.Cut(rest, "@")
	if !hasLocal {
		local, domain = "", rest
	}
	var err error
	if hasLocal {
		if local, err = localpart(local); err != nil {
			return JID{}, err
		}
	}
	if domain, err = domainpart(domain); err != nil {
		return JID{}, err
	}
	if full {
		if resource, err = resourcepart(resource); err != nil {
			return JID{}, err
		}
	}
	bare := len(domain)
	if hasLocal {
		bare += len(local) + len("@")
	}
	j := JID{local: uint16(len(local)), bare: uint16(bare)}
	size := bare
	if full {
		size += len("/") + len(resource)
	}
	if len(s) == size && s[:len(local)] == local && rest[len(rest)-len(domain):] == domain && s[size-len(resource):] == resource {
		j.text = s // it was canonical already
		return j, nil
	}
	var b strings.Builder
	b.Grow(size)
	if hasLocal {
		b.WriteString(local)
		b.WriteByte('@')
	}
	b.WriteString(domain)
	if full {
		b.WriteByte('/')
		b.WriteString(resource)
	}
	j.text = b.String()
	return j, nil
}

// ParseBare reads an address that must not have a resourcepart; its errors
// are those of Parse.
func ParseBare(s string) (Bare, error) {
	j, err := Parse(s)
	if err != nil {
		return Bare{}, err
	}
	if j.IsFull() {
		return Bare{}, &Error{"resourcepart", j.Resource(), "where a bare JID is needed"}
	}
	return j.Bare(), nil
}

// ParseFull reads an address that must have a resourcepart; its errors are
// those of Parse.
func ParseFull(s string) (Full, error) {
	j, err := Parse(s)
	if err != nil {
		return Full{}, err
	}
	f, ok := j.Full()
	if !ok {
		return Full{}, &Error{"resourcepart", "", "is missing"}
	}
	return f, nil
}

// MustBare is ParseBare for constants: it panics on what is no bare JID.
func MustBare(s string) Bare {
	b, err := ParseBare(s)
	if err != nil {
		panic(err)
	}
	return b
}

// MustFull is ParseFull for constants: it panics on what is no full JID.
func MustFull(s string) Full {
	f, err := ParseFull(s)
	if err != nil {
		panic(err)
	}
	return f
}

// FromCanonical gives the JID whose String was s, without any check: for what
// comes from our own log and database. Of the empty string it is zero.
func FromCanonical(s string) JID {
	bare := strings.IndexByte(s, '/')
	if bare < 0 {
		bare = len(s)
	}
	local := max(strings.IndexByte(s[:bare], '@'), 0)
	return JID{text: s, local: uint16(local), bare: uint16(bare)}
}

// BareFromCanonical is FromCanonical where s has no resourcepart.
func BareFromCanonical(s string) Bare {
	return Bare{text: s, local: uint16(max(strings.IndexByte(s, '@'), 0))}
}

// FullFromCanonical is FromCanonical where s has a resourcepart.
func FullFromCanonical(s string) Full {
	return Full(FromCanonical(s))
}

// Compare orders addresses by their text: negative if a comes before b, 0 if
// they are the same. It suits slices.SortFunc.
func Compare(a, b Bare) int { return strings.Compare(a.text, b.text) }

// String gives the canonical text, without allocating.
func (b Bare) String() string { return b.text }

// Local gives the localpart, empty if there is none.
func (b Bare) Local() string { return b.text[:b.local] }

// Domain gives the domainpart.
func (b Bare) Domain() string { return domain(b.text, b.local) }

// IsZero tells that b is no address.
func (b Bare) IsZero() bool { return b.text == "" }

// JID gives b as a JID.
func (b Bare) JID() JID { return JID{text: b.text, local: b.local, bare: uint16(len(b.text))} }

// WithResource gives the full JID of b and the resourcepart r, which it makes
// canonical; its errors are those of Parse.
func (b Bare) WithResource(r string) (Full, error) {
	resource, err := resourcepart(r)
	if err != nil {
		return Full{}, err
	}
	return b.WithCanonical(resource), nil
}

// WithCanonical is WithResource without any check: for a resourcepart that
// comes from another JID or from our own log and database.
func (b Bare) WithCanonical(resource string) Full {
	return Full{text: b.text + "/" + resource, local: b.local, bare: uint16(len(b.text))}
}

// String gives the canonical text, without allocating.
func (f Full) String() string { return f.text }

// Bare gives f without its resourcepart.
func (f Full) Bare() Bare { return Bare{text: f.text[:f.bare], local: f.local} }

// Local gives the localpart, empty if there is none.
func (f Full) Local() string { return f.text[:f.local] }

// Domain gives the domainpart.
func (f Full) Domain() string { return domain(f.text[:f.bare], f.local) }

// Resource gives the resourcepart.
func (f Full) Resource() string { return JID(f).Resource() }

// IsZero tells that f is no address.
func (f Full) IsZero() bool { return f.text == "" }

// JID gives f as a JID.
func (f Full) JID() JID { return JID(f) }

// String gives the canonical text, without allocating.
func (j JID) String() string { return j.text }

// Bare gives j without its resourcepart.
func (j JID) Bare() Bare { return Bare{text: j.text[:j.bare], local: j.local} }

// Local gives the localpart, empty if there is none.
func (j JID) Local() string { return j.text[:j.local] }

// Domain gives the domainpart.
func (j JID) Domain() string { return domain(j.text[:j.bare], j.local) }

// Resource gives the resourcepart, empty for a bare JID.
func (j JID) Resource() string {
	if int(j.bare) == len(j.text) {
		return ""
	}
	return j.text[j.bare+1:]
}

// IsFull tells that j has a resourcepart.
func (j JID) IsFull() bool { return int(j.bare) < len(j.text) }

// Full gives j as a full JID; ok tells that it is one.
func (j JID) Full() (f Full, ok bool) {
	if !j.IsFull() {
		return Full{}, false
	}
	return Full(j), true
}

// IsZero tells that j is no address.
func (j JID) IsZero() bool { return j.text == "" }

func domain(bare string, local uint16) string {
	if local == 0 {
		return bare
	}
	return bare[local+1:]
}

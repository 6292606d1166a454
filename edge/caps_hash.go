package edge

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash"
	"slices"
	"strings"

	"github.com/rollcall/rollcall/edge/stanza"
)

// capsHashes are the hash functions by which capabilities are announced, by
// the names that XEP-0115 takes from the registry of hash functions.
var capsHashes = map[string]func() hash.Hash{
	"sha-1":    sha1.New,
	"sha-224":  sha256.New224,
	"sha-256":  sha256.New,
	"sha-384":  sha512.New384,
	"sha-512":  sha512.New,
	"sha3-256": func() hash.Hash { return sha3.New256() },
	"sha3-512": func() hash.Hash { return sha3.New512() },
}

// errIllFormed tells that service discovery information cannot be hashed, or
// that what it says could be said otherwise with the same hash (XEP-0115,
// section 5.4).
var errIllFormed = errors.New("edge: service discovery information is ill-formed")

// capsVer gives the verification string of a disco#info query (XEP-0115,
// section 5.1). A part with a < is refused: it could stand for several parts.
func capsVer(info *stanza.Element, new func() hash.Hash) (string, error) {
	var identities, features []string
	forms := make(map[string]*stanza.Element)
	var types []string
	bad := false
	part := func(text string) string {
		bad = bad || strings.Contains(text, "<")
		return text
	}
	for _, c := range info.Children {
		switch {
		case c.Is(stanza.NSDiscoInfo, "identity"):
			identities = append(identities, part(c.Attr("category")+"/"+c.Attr("type")+"/"+c.Lang()+"/"+c.Attr("name")))
		case c.Is(stanza.NSDiscoInfo, "feature"):
			features = append(features, part(c.Attr("var")))
		case c.Is(stanza.NSData, "x"):
			of := formType(c)
			if of == "" {
				continue
			}
			if forms[of] != nil {
				return "", errIllFormed
			}
			forms[of] = c
			types = append(types, of)
		}
	}
	var s strings.Builder
	write := func(parts []string) {
		slices.Sort(parts)
		for _, p := range parts {
			s.WriteString(part(p) + "<")
		}
	}
	write(identities)
	write(features)
	if twice(identities) || twice(features) {
		return "", errIllFormed
	}
	slices.Sort(types)
	for _, of := range types {
		s.WriteString(part(of) + "<")
		fields := slices.DeleteFunc(slices.Clone(forms[of].Children), func(f *stanza.Element) bool {
			return !f.Is(stanza.NSData, "field") || f.Attr("var") == "FORM_TYPE"
		})
		slices.SortStableFunc(fields, func(a, b *stanza.Element) int { return strings.Compare(a.Attr("var"), b.Attr("var")) })
		for _, f := range fields {
			s.WriteString(part(f.Attr("var")) + "<")
			var values []string
			for _, v := range f.Children {
				if v.Is(stanza.NSData, "value") {
					values = append(values, v.Text)
				}
			}
			write(values)
		}
	}
	if bad {
		return "", errIllFormed
	}
	h := new()
	h.Write([]byte(s.String()))
	return base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// formType gives the value of the hidden field FORM_TYPE; a form without one is
// ignored.
func formType(form *stanza.Element) string {
	for _, f := range form.Children {
		if f.Is(stanza.NSData, "field") && f.Attr("var") == "FORM_TYPE" && f.Attr("type") == "hidden" {
			return f.ChildText(stanza.NSData, "value")
		}
	}
	return ""
}

// twice tells whether sorted names has one twice.
func twice(names []string) bool {
	for i := 1; i < len(names); i++ {
		if names[i] == names[i-1] {
			return true
		}
	}
	return false
}

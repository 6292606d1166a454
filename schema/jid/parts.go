package jid

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
)

// maxRaw bounds a part before it is made canonical, so that a hostile one
// costs little. No mapping shrinks text more than threefold (fullwidth forms,
// Hangul jamo).
const maxRaw = 3 * MaxPart

// notInLocal are the characters that UsernameCaseMapped allows and a
// localpart does not (RFC 7622, section 3.3.1).
const notInLocal = `"&'/:<>@`

// localpart gives s by the profile UsernameCaseMapped (RFC 7622, section 3.3).
func localpart(s string) (string, error) {
	const part = "localpart"
	if err := rawSize(part, s); err != nil {
		return "", err
	}
	plain, upper := true, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f {
			plain = false
			break
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	out := s
	if plain {
		if upper {
			out = strings.ToLower(s)
		}
	} else {
		var err error
		if out, err = enforce(precis.UsernameCaseMapped, part, s); err != nil {
			return "", err
		}
	}
	if i := strings.IndexAny(out, notInLocal); i >= 0 {
		return "", &Error{part, s, "has the character " + out[i:i+1]}
	}
	return out, size(part, out)
}

// resourcepart gives s by the profile OpaqueString (RFC 7622, section 3.4).
// Example 18 of section 3.5 rules out a leading space, which the profile
// alone would let through.
func resourcepart(s string) (string, error) {
	const part = "resourcepart"
	if err := rawSize(part, s); err != nil {
		return "", err
	}
	out := s
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			var err error
			if out, err = enforce(precis.OpaqueString, part, s); err != nil {
				return "", err
			}
			break
		}
	}
	if out[0] == ' ' {
		return "", &Error{part, s, "begins with a space"}
	}
	return out, size(part, out)
}

// domainpart gives s as a host name of lower-case U-labels, or as an IP
// address (RFC 7622, section 3.2).
func domainpart(s string) (string, error) {
	const part = "domainpart"
	s = strings.TrimSuffix(s, ".") // before all else, says section 3.2
	if err := rawSize(part, s); err != nil {
		return "", err
	}
	if plainHost(s) {
		return s, size(part, s)
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		if !ok || err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", &Error{part, s, "is no IPv6 address"}
		}
		return "[" + ip.String() + "]", nil
	}
	if !utf8.ValidString(s) {
		return "", &Error{part, s, "is not UTF-8"}
	}
	out := s
	for range 3 {
		next, err := idna.Display.ToUnicode(out)
		if err != nil {
			return "", &Error{part, s, "is no host name: " + err.Error()}
		}
		for label := range strings.SplitSeq(next, ".") {
			if label == "" {
				return "", &Error{part, s, "has an empty label"}
			}
		}
		if next == out {
			return out, size(part, out)
		}
		out = next
	}
	return "", &Error{part, s, "has no canonical form"}
}

// plainHost tells that s is a canonical host name of letters, digits and
// hyphens that needs no mapping.
func plainHost(s string) bool {
	label := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			label++
		case c == '-' && label > 0 && i+1 < len(s) && s[i+1] != '.' && s[i+1] != '-':
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
	}
	return label > 0
}

// enforce applies a PRECIS profile until the text stays as it is: one round
// does not always suffice (RFC 8264, section 7).
func enforce(profile *precis.Profile, part, s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", &Error{part, s, "is not UTF-8"}
	}
	out := s
	for range 4 {
		next, err := profile.String(out)
		if err != nil {
			return "", &Error{part, s, "is not allowed: " + err.Error()}
		}
		if next == out {
			return out, nil
		}
		out = next
	}
	return "", &Error{part, s, "has no canonical form"}
}

func rawSize(part, s string) error {
	if s == "" {
		return &Error{part, s, "is empty"}
	}
	if len(s) > maxRaw {
		return &Error{part, s, "is too long"}
	}
	return nil
}

func size(part, canonical string) error {
	if len(canonical) > MaxPart {
		return &Error{part, canonical, "is too long"}
	}
	return nil
}

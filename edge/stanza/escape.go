package stanza

import (
	"strings"
	"unicode/utf8"
)

// appendEscapedRune appends r as canonical XML.
func appendEscapedRune(dst []byte, r rune, escapeSpace bool) []byte {
	switch r {
	case '<':
		return append(dst, "&lt;"...)
	case '>':
		return append(dst, "&gt;"...)
	case '&':
		return append(dst, "&amp;"...)
	case '\'':
		return append(dst, "&apos;"...)
	case '\r':
		return append(dst, "&#xD;"...)
	case '\t':
		if escapeSpace {
			return append(dst, "&#x9;"...)
		}
	case '\n':
		if escapeSpace {
			return append(dst, "&#xA;"...)
		}
	}
	return utf8.AppendRune(dst, r)
}

// AppendText appends s as character data. What XML cannot carry, such as
// control characters or bytes that are not UTF-8, becomes U+FFFD.
func AppendText(dst []byte, s string) []byte { return appendEscaped(dst, s, false) }

func appendEscaped(dst []byte, s string, escapeSpace bool) []byte {
	from := 0
	for i := 0; i < len(s); {
		if class[s[i]]&cPlain != 0 || s[i] == '"' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r >= 0x80 && isChar(r) && (r != utf8.RuneError || size > 1) {
			i += size
			continue
		}
		dst = append(dst, s[from:i]...)
		if !isChar(r) {
			r = utf8.RuneError
		}
		dst = appendEscapedRune(dst, r, escapeSpace)
		i += size
		from = i
	}
	return append(dst, s[from:]...)
}

// AppendAttr appends a space and name='value', or nothing if value is empty.
func AppendAttr(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendAttr(dst, name, value)
}

func appendAttr(dst []byte, name, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, "='"...)
	dst = appendEscaped(dst, value, true)
	return append(dst, '\'')
}

// appendUnescaped appends what canonical text or an attribute value means.
func appendUnescaped(dst, src []byte) []byte {
	for i := 0; i < len(src); i++ {
		c := src[i]
		if c != '&' {
			dst = append(dst, c)
			continue
		}
		end := i + 1
		for end < len(src) && src[end] != ';' {
			end++
		}
		switch ref := string(src[i+1 : end]); {
		case ref == "lt":
			dst = append(dst, '<')
		case ref == "gt":
			dst = append(dst, '>')
		case ref == "amp":
			dst = append(dst, '&')
		case ref == "apos":
			dst = append(dst, '\'')
		case ref == "quot":
			dst = append(dst, '"')
		case strings.HasPrefix(ref, "#"):
			if r, ok := charRef([]byte(ref[1:])); ok {
				dst = utf8.AppendRune(dst, r)
			}
		}
		i = end
	}
	return dst
}

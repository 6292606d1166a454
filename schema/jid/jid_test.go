package jid

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
	"pgregory.net/rapid"
)

// RFC 7622, section 3.5, table 1: what is a JID, and its parts.
func TestExamplesOfJIDs(t *testing.T) {
	for _, c := range []struct{ name, in, local, domain, resource string }{
		{"3.5 example 1", "juliet@example.com", "juliet", "example.com", ""},
		{"3.5 example 2", "juliet@example.com/foo", "juliet", "example.com", "foo"},
		{"3.5 example 3", "juliet@example.com/foo bar", "juliet", "example.com", "foo bar"},
		{"3.5 example 4", "juliet@example.com/foo@bar", "juliet", "example.com", "foo@bar"},
		{"3.5 example 5", `foo\20bar@example.com`, `foo\20bar`, "example.com", ""},
		{"3.5 example 6", "fussball@example.com", "fussball", "example.com", ""},
		{"3.5 example 7", "fu\u00dfball@example.com", "fu\u00dfball", "example.com", ""},
		{"3.5 example 8", "\u03c0@example.com", "\u03c0", "example.com", ""},
		{"3.5 example 9", "\u03a3@example.com/foo", "\u03c3", "example.com", "foo"},
		{"3.5 example 10", "\u03c3@example.com/foo", "\u03c3", "example.com", "foo"},
		{"3.5 example 11", "\u03c2@example.com/foo", "\u03c2", "example.com", "foo"},
		{"3.5 example 12", "king@example.com/\u265a", "king", "example.com", "\u265a"},
		{"3.5 example 13", "example.com", "", "example.com", ""},
		{"3.5 example 14", "example.com/foobar", "", "example.com", "foobar"},
		{"3.5 example 15", "a.example.com/b@example.net", "", "a.example.com", "b@example.net"},

		{"3.2 unqualified host", "romeo@localhost", "romeo", "localhost", ""},
		{"3.2 final dot is stripped", "romeo@example.com./x", "romeo", "example.com", "x"},
		{"3.2 IPv4", "romeo@192.0.2.1", "romeo", "192.0.2.1", ""},
		{"3.2 IPv6", "romeo@[2001:DB8:0::1]/x", "romeo", "[2001:db8::1]", "x"},
		{"3.2.1 A-label becomes U-label", "romeo@xn--bcher-kva.example", "romeo", "bücher.example", ""},
		{"3.2.2 case", "romeo@EXAMPLE.Com", "romeo", "example.com", ""},
		{"3.3 case", "RoMeo@example.com", "romeo", "example.com", ""},
		{"3.3 width", "\uff41\uff42@example.com", "ab", "example.com", ""},
		{"3.4 case is kept", "romeo@example.com/Home", "romeo", "example.com", "Home"},
		{"3.4 slash inside", "romeo@example.com/a/b", "romeo", "example.com", "a/b"},
		{"3.4 other spaces", "romeo@example.com/a\u00a0b", "romeo", "example.com", "a b"},
		{"3.4 normalization", "romeo@example.com/e\u0301", "romeo", "example.com", "\u00e9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, err := Parse(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if j.Local() != c.local || j.Domain() != c.domain || j.Resource() != c.resource {
				t.Errorf("%q @ %q / %q", j.Local(), j.Domain(), j.Resource())
			}
			if j.IsFull() != (c.resource != "") {
				t.Errorf("IsFull is %v", j.IsFull())
			}
			same(t, j)
		})
	}
}

// RFC 7622, section 3.5, table 2: what is none.
func TestExamplesOfOtherStrings(t *testing.T) {
	long := strings.Repeat("a", MaxPart+1)
	for _, c := range []struct{ name, in, part string }{
		{"3.5 example 16", `"juliet"@example.com`, "localpart"},
		{"3.5 example 17", "foo bar@example.com", "localpart"},
		{"3.5 example 18", "juliet@example.com/ foo", "resourcepart"},
		{"3.5 example 19", "@example.com/", "localpart"},
		{"3.5 example 20", "henry\u2163@example.com", "localpart"},
		{"3.5 example 21", "\u265a@example.com", "localpart"},
		{"3.5 example 22", "juliet@", "domainpart"},
		{"3.5 example 23", "/foobar", "domainpart"},

		{"3.2 empty", "", "domainpart"},
		{"3.2 only a dot", "a@.", "domainpart"},
		{"3.2 empty label", "a@b..c", "domainpart"},
		{"3.2 leading dot", "a@.c", "domainpart"},
		{"3.2 second at sign", "a@b@c", "domainpart"},
		{"3.2 underscore", "a@b_c", "domainpart"},
		{"3.2 space", "a@b c", "domainpart"},
		{"3.2 hyphen ends label", "a@b-.c", "domainpart"},
		{"3.2 not IPv6", "a@[1.2.3.4]", "domainpart"},
		{"3.2 IPv6 not closed", "a@[::1", "domainpart"},
		{"3.2 IPv6 zone", "a@[fe80::1%eth0]", "domainpart"},
		{"3.2 not UTF-8", "a@b\xff", "domainpart"},
		{"3.2 too long", long, "domainpart"},
		{"3.3 too long", long + "@b", "localpart"},
		{"3.3 far too long", strings.Repeat(long, 9) + "@b", "localpart"},
		{"3.3 not UTF-8", "a\xff@b", "localpart"},
		{"3.3.1 ampersand", "a&b@c", "localpart"},
		{"3.3.1 apostrophe", "a'b@c", "localpart"},
		{"3.3.1 colon", "a:b@c", "localpart"},
		{"3.3.1 less-than", "a<b@c", "localpart"},
		{"3.3.1 greater-than", "a>b@c", "localpart"},
		{"3.3.1 at sign made by width mapping", "a\uff20b@c", "localpart"},
		{"3.4 empty", "a@b/", "resourcepart"},
		{"3.4 control character", "a@b/\x07", "resourcepart"},
		{"3.4 too long", "a@b/" + long, "resourcepart"},
		{"3.4 not UTF-8", "a@b/\xff", "resourcepart"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, err := Parse(c.in)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%q parsed as %q, error %v", c.in, j, err)
			}
			if e.Part != c.part || e.Error() == "" {
				t.Errorf("the error is about the %s, not the %s", e.Part, c.part)
			}
		})
	}
}

func TestLongestParts(t *testing.T) {
	part := strings.Repeat("a", MaxPart)
	j, err := Parse(part + "@" + part + "/" + part)
	if err != nil {
		t.Fatal(err)
	}
	if j.Local() != part || j.Domain() != part || j.Resource() != part {
		t.Error("parts differ")
	}
	wide, err := Parse(strings.Repeat("\uff41", MaxPart) + "@b")
	if err != nil || wide.Local() != part {
		t.Errorf("fullwidth: %v", err)
	}
}

func TestBareAndFull(t *testing.T) {
	juliet := MustBare("Juliet@Example.com")
	balcony, err := juliet.WithResource("balcony")
	if err != nil {
		t.Fatal(err)
	}
	if balcony != MustFull("juliet@example.com/balcony") || balcony.Bare() != juliet || balcony.Resource() != "balcony" {
		t.Errorf("%+v", balcony)
	}
	if _, err := juliet.WithResource(""); err == nil {
		t.Error("an empty resourcepart passed")
	}
	if _, err := ParseBare("a@b/c"); err == nil {
		t.Error("a full JID parsed as bare")
	}
	if _, err := ParseFull("a@b"); err == nil {
		t.Error("a bare JID parsed as full")
	}
	if !(Bare{}).IsZero() || !(Full{}).IsZero() || !(JID{}).IsZero() || juliet.IsZero() {
		t.Error("IsZero")
	}
	if FromCanonical("") != (JID{}) || BareFromCanonical("") != (Bare{}) {
		t.Error("the empty string is not zero")
	}
	m := map[Bare]int{juliet: 1}
	if m[BareFromCanonical("juliet@example.com")] != 1 {
		t.Error("not the same key")
	}
	if Compare(MustBare("a@b"), MustBare("b@b")) >= 0 {
		t.Error("Compare")
	}
	if juliet.Local() != "juliet" || juliet.Domain() != "example.com" || balcony.Local() != "juliet" || balcony.Domain() != "example.com" {
		t.Error("parts")
	}
}

func TestCanonicalTextIsNotCopied(t *testing.T) {
	s := "juliet@example.com/balcony"
	if n := testing.AllocsPerRun(100, func() {
		j, _ := Parse(s)
		f, _ := j.Full()
		_ = f.Bare().String()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The fast paths give what the libraries give.
func TestFastPathsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.RuneFrom(nil, printable), 1, 12, -1).Draw(t, "part")
		want, wantErr := precis.UsernameCaseMapped.String(s)
		if strings.ContainsAny(want, notInLocal) {
			wantErr = errors.New("not in a localpart")
		}
		if got, err := localpart(s); (err != nil) != (wantErr != nil) || err == nil && got != want {
			t.Errorf("localpart %q: %q %v, want %q %v", s, got, err, want, wantErr)
		}
		want, wantErr = precis.OpaqueString.String(s)
		if got, err := resourcepart(s); s[0] != ' ' && ((err != nil) != (wantErr != nil) || err == nil && got != want) {
			t.Errorf("resourcepart %q: %q %v, want %q %v", s, got, err, want, wantErr)
		}
		host := rapid.StringMatching(`[a-zA-Z0-9-]{1,8}(\.[a-z0-9-]{1,5})?`).Draw(t, "host")
		want, wantErr = idna.Display.ToUnicode(host)
		if got, err := domainpart(host); (err != nil) != (wantErr != nil) || err == nil && got != want {
			t.Errorf("domainpart %q: %q %v, want %q %v", host, got, err, want, wantErr)
		}
	})
}

// same checks that j is read back from its own text.
func same(t testing.TB, j JID) {
	t.Helper()
	again, err := Parse(j.String())
	if err != nil {
		t.Fatalf("%q does not parse again: %v", j, err)
	}
	if again != j {
		t.Fatalf("%+v parsed again as %+v", j, again)
	}
	if FromCanonical(j.String()) != j || j.Bare() != BareFromCanonical(j.Bare().String()) || j.Bare().JID().Bare() != j.Bare() {
		t.Fatalf("%q: not the same from canonical text", j)
	}
	if f, ok := j.Full(); ok && (f != FullFromCanonical(j.String()) || f.JID() != j || j.Bare().WithCanonical(j.Resource()) != f) {
		t.Fatalf("%q: not the same as a full JID", j)
	}
	for _, part := range []string{j.Local(), j.Domain(), j.Resource()} {
		if len(part) > MaxPart {
			t.Fatalf("%d bytes in a part", len(part))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"juliet@example.com/balcony", "a@[::1]/r", "Σ@xn--bcher-kva.example/♚", "ａ＠b", "a@b。c", "\u1100\u1161@x/\u0344",
		"a@b@c", "/", "@", "\u05d0\u05d1@x", "a@xn--a", "\u0345@x", "a@ß.de", "\u0130@x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		j, err := Parse(s)
		if err != nil {
			if j != (JID{}) {
				t.Fatalf("%+v with an error", j)
			}
			return
		}
		same(t, j)
	})
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, in string }{
		{"canonical", "juliet@example.com/balcony"},
		{"upper", "Juliet@example.com/balcony"},
		{"unicode", "jülïet@example.com/balcony"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(c.in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBareFromCanonical(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if BareFromCanonical("juliet@example.com").IsZero() {
			b.Fatal("zero")
		}
	}
}

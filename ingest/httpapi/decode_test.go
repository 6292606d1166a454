package httpapi

import (
	"errors"
	"testing"
)

func TestDecode(t *testing.T) {
	type inner struct {
		Body string `json:"body"`
	}
	type request struct {
		inner
		To    []string `json:"to"`
		Count int      `json:"count"`
	}
	var r request
	if err := decode([]byte(` {"body":"x","to":["a"],"count":3} `), &r); err != nil || r.Body != "x" || len(r.To) != 1 || r.Count != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	for body, code := range map[string]Code{
		"":                               MalformedJSON,
		"{":                              MalformedJSON,
		`{"body"`:                        MalformedJSON,
		`{"body":`:                       MalformedJSON,
		`{"body":"x"`:                    MalformedJSON,
		`{"body":"x",}`:                  MalformedJSON,
		`{"body":"x"}{}`:                 MalformedJSON,
		`{"body":"x"} x`:                 MalformedJSON,
		`{"body":nul}`:                   MalformedJSON,
		"{\"body\":\"\xff\"}":            MalformedJSON,
		"{\"body\":\"\n\"}":              MalformedJSON,
		`[`:                              MalformedJSON,
		`[]`:                             InvalidField,
		`null`:                           InvalidField,
		`"x"`:                            InvalidField,
		`{"Body":"x"}`:                   UnknownField,
		`{"inner":{}}`:                   UnknownField,
		`{"":1}`:                         UnknownField,
		`{"body":null}`:                  InvalidField,
		`{"body":1}`:                     InvalidField,
		`{"to":"a"}`:                     InvalidField,
		`{"to":[1]}`:                     InvalidField,
		`{"count":1.5}`:                  InvalidField,
		`{"count":99999999999999999999}`: InvalidField,
		`{"body":"x","body":"y"}`:        InvalidField,
	} {
		var r request
		var p *Problem
		if err := decode([]byte(body), &r); !errors.As(err, &p) || p.Code != code {
			t.Errorf("%q: %v, want %s", body, err, code)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"body":"x"}`)
	f.Fuzz(func(t *testing.T, body string) {
		var r struct {
			Body string `json:"body"`
		}
		var p *Problem
		if err := decode([]byte(body), &r); err != nil && !errors.As(err, &p) {
			t.Error(err)
		}
	})
}

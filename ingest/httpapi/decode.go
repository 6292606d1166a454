package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// decode reads a body into the struct that dst points to. Unlike encoding/json
// it takes no member that the struct does not name exactly, none twice, no null,
// and no byte that is not UTF-8.
func decode(body []byte, dst any) error {
	if !utf8.Valid(body) {
		return problem(MalformedJSON, "the body is not UTF-8")
	}
	members, err := object(body)
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, f := range reflect.VisibleFields(reflect.TypeOf(dst).Elem()) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			known[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !known[name] {
			return problem(UnknownField, "there is no field %s", quoted(name))
		}
		if string(members[name]) == "null" {
			return problem(InvalidField, "%s is null; leave it out", name)
		}
	}
	var kind *json.UnmarshalTypeError
	switch err := json.Unmarshal(body, dst); {
	case errors.As(err, &kind):
		return problem(InvalidField, "%s is a JSON %s, which it may not be", kind.Field, kind.Value)
	case err != nil:
		return problem(InvalidField, "%s", err)
	}
	return nil
}

// object gives the members of a JSON object.
func object(body []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	first, err := d.Token()
	if err != nil {
		return nil, malformed(err)
	}
	if first != json.Delim('{') {
		if !json.Valid(body) {
			return nil, problem(MalformedJSON, "the body is not one JSON value")
		}
		return nil, problem(InvalidField, "the body is not a JSON object")
	}
	members := make(map[string]json.RawMessage)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, malformed(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, malformed(err)
		}
		if _, twice := members[name.(string)]; twice {
			return nil, problem(InvalidField, "%s is there twice", quoted(name.(string)))
		}
		members[name.(string)] = value
	}
	if !json.Valid(body) { // the end, and what may be after it
		return nil, problem(MalformedJSON, "the body is not one JSON value")
	}
	return members, nil
}

func malformed(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return problem(MalformedJSON, "at byte %d: %s", syntax.Offset, strings.TrimPrefix(syntax.Error(), "json: "))
	}
	return problem(MalformedJSON, "the body ends early")
}

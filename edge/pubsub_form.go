package edge

import (
	"strconv"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/node"
)

// accessModels are the access models by their names (XEP-0060, section 4.5).
var accessModels = map[string]node.Access{"presence": node.Presence, "open": node.Open, "whitelist": node.Owner}

// fixedFields are those of a node's configuration that are the same for all
// nodes (XEP-0060, section 16.4.4).
var fixedFields = map[string]string{
	"pubsub#deliver_notifications":   "1",
	"pubsub#deliver_payloads":        "1",
	"pubsub#notify_config":           "0",
	"pubsub#notify_delete":           "1",
	"pubsub#notify_retract":          "1",
	"pubsub#notify_sub":              "0",
	"pubsub#presence_based_delivery": "1",
	"pubsub#subscribe":               "0",
	"pubsub#publish_model":           "publishers",
	"pubsub#notification_type":       "headline",
}

// formIn gives the data form (XEP-0004) inside an element, which must be of
// this type; nil if there is none.
func formIn(c stanza.Child, formType string) (*stanza.Element, error) {
	x, ok := c.First(stanza.NSData, "x")
	if !ok {
		return nil, nil
	}
	form, err := x.Element()
	if err != nil {
		return nil, stanza.NewError(stanza.BadRequest, "")
	}
	if t, ok := field(form, "FORM_TYPE"); ok && t != formType {
		return nil, stanza.NewError(stanza.BadRequest, "the form is of another type")
	}
	return form, nil
}

// field gives the value of a form's field.
func field(form *stanza.Element, name string) (value string, ok bool) {
	for _, f := range form.Children {
		if f.Is(stanza.NSData, "field") && f.Attr("var") == name {
			return f.ChildText(stanza.NSData, "value"), true
		}
	}
	return "", false
}

// configured gives c with what the form says; without a form it is c. Of strict
// forms every field must be known (XEP-0060, section 7.1.5), others may have
// more. A node keeps at most so many items.
func configured(c node.Config, form *stanza.Element, most int, strict bool) (node.Config, error) {
	if form == nil || form.Attr("type") == "cancel" {
		return c, nil
	}
	for _, f := range form.Children {
		if !f.Is(stanza.NSData, "field") {
			continue
		}
		name, value := f.Attr("var"), f.ChildText(stanza.NSData, "value")
		bad := stanza.NewError(stanza.NotAcceptable, name+" cannot be "+value)
		switch name {
		case "FORM_TYPE":
		case "pubsub#access_model":
			access, ok := accessModels[value]
			if !ok {
				return c, pubsubError(stanza.NotAcceptable, "unsupported-access-model")
			}
			c.Access = access
		case "pubsub#max_items":
			n := uint64(most)
			if value != "max" {
				var err error
				if n, err = strconv.ParseUint(value, 10, 32); err != nil || n == 0 {
					return c, bad
				}
			}
			c.MaxItems = uint32(min(n, uint64(most)))
		case "pubsub#persist_items":
			persist, ok := boolean(value)
			if !ok {
				return c, bad
			}
			c.Transient = !persist
		case "pubsub#send_last_published_item":
			switch value {
			case "never", "on_sub":
				c.NoLastItem = true
			case "on_sub_and_presence":
				c.NoLastItem = false
			default:
				return c, bad
			}
		default:
			fixed, known := fixedFields[name]
			if known && value != fixed {
				if b, ok := boolean(value); !ok || fixed != "0" && fixed != "1" || b != (fixed == "1") {
					return c, bad
				}
			}
			if !known && strict {
				return c, stanza.NewError(stanza.BadRequest, name+" is not known")
			}
		}
	}
	return c, nil
}

func boolean(value string) (b, ok bool) {
	switch value {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}

// configForm gives the form of a node (XEP-0060, section 8.2.1).
func configForm(c node.Config, most int) *stanza.Element {
	form := stanza.New(stanza.NSData, "x", "type", "form")
	add := func(name, kind, value string, options ...string) {
		f := stanza.New(stanza.NSData, "field", "var", name, "type", kind).AddText("value", value)
		for _, o := range options {
			f.Add(stanza.New(stanza.NSData, "option").AddText("value", o))
		}
		form.Add(f)
	}
	flag := func(b bool) string {
		if b {
			return "1"
		}
		return "0"
	}
	add("FORM_TYPE", "hidden", stanza.NSPubConfig)
	access := "presence"
	for name, a := range accessModels {
		if a == c.Access {
			access = name
		}
	}
	add("pubsub#access_model", "list-single", access, "open", "presence", "whitelist")
	add("pubsub#max_items", "text-single", strconv.Itoa(min(max(1, int(c.MaxItems)), most)))
	add("pubsub#persist_items", "boolean", flag(!c.Transient))
	last := "on_sub_and_presence"
	if c.NoLastItem {
		last = "never"
	}
	add("pubsub#send_last_published_item", "list-single", last, "never", "on_sub_and_presence")
	add("pubsub#deliver_payloads", "boolean", fixedFields["pubsub#deliver_payloads"])
	add("pubsub#notify_delete", "boolean", fixedFields["pubsub#notify_delete"])
	add("pubsub#notify_retract", "boolean", fixedFields["pubsub#notify_retract"])
	add("pubsub#publish_model", "list-single", fixedFields["pubsub#publish_model"], fixedFields["pubsub#publish_model"])
	return form
}

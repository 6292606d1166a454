package play

import (
	"fmt"
	"strings"

	"github.com/rollcall/rollcall/edge/edgetest/model"
	"github.com/rollcall/rollcall/edge/stanza"
)

// xml gives the stanza of a command, and tells whether it is an iq.
func (p *Play) xml(c model.Command) (xml string, asks bool) {
	arg := func(i int) string { return string(stanza.AppendText(nil, c.Args[i])) }
	iq := func(kind, payload string) (string, bool) {
		return fmt.Sprintf("<iq type='%s' id='%s'>%s</iq>", kind, c.ID, payload), true
	}
	switch c.Verb {
	case "roster":
		return iq("get", "<query xmlns='jabber:iq:roster'/>")
	case "available":
		return fmt.Sprintf("<presence id='%s'>%s<priority>%s</priority></presence>", c.ID, said(arg(0), arg(1)), arg(2)), false
	case "unavailable":
		return fmt.Sprintf("<presence type='unavailable' id='%s'/>", c.ID), false
	case "direct":
		return fmt.Sprintf("<presence to='%s' id='%s'>%s</presence>", p.address(arg(0)), c.ID, said(arg(1), arg(2))), false
	case "undirect":
		return fmt.Sprintf("<presence to='%s' type='unavailable' id='%s'/>", p.address(arg(0)), c.ID), false
	case "subscribe", "subscribed", "unsubscribe", "unsubscribed":
		return fmt.Sprintf("<presence to='%s' type='%s' id='%s'/>", p.address(arg(0)), c.Verb, c.ID), false
	case "set":
		item := fmt.Sprintf("<item jid='%s' name='%s'>", p.address(arg(0)), arg(1))
		for _, g := range strings.FieldsFunc(arg(2), func(r rune) bool { return r == ',' }) {
			item += "<group>" + g + "</group>"
		}
		return iq("set", "<query xmlns='jabber:iq:roster'>"+item+"</item></query>")
	case "remove":
		return iq("set", fmt.Sprintf("<query xmlns='jabber:iq:roster'><item jid='%s' subscription='remove'/></query>", p.address(arg(0))))
	case "message":
		origin := ""
		if c.Args[2] != "" {
			origin = fmt.Sprintf("<origin-id xmlns='urn:xmpp:sid:0' id='%s'/>", arg(2))
		}
		return fmt.Sprintf("<message type='%s' to='%s' id='%s'><body>%s</body>%s</message>", arg(0), p.address(arg(1)), c.ID, c.ID, origin), false
	}
	switch c.Verb {
	case "block", "unblock":
		items := ""
		if c.Args[0] != "" {
			items = fmt.Sprintf("<item jid='%s'/>", p.address(arg(0)))
		}
		return iq("set", fmt.Sprintf("<%s xmlns='urn:xmpp:blocking'>%s</%[1]s>", c.Verb, items))
	case "list":
		return iq("set", "<query xmlns='jabber:iq:privacy'><list name='"+arg(0)+"'>"+p.rules(c.Args[1])+"</list></query>")
	case "active", "default":
		name := ""
		if c.Args[0] != "" {
			name = " name='" + arg(0) + "'"
		}
		return iq("set", "<query xmlns='jabber:iq:privacy'><"+c.Verb+name+"/></query>")
	case "invisible":
		return iq("set", "<invisible xmlns='urn:xmpp:invisible:1' probe='true'/>")
	case "visible":
		return iq("set", "<visible xmlns='urn:xmpp:invisible:1'/>")
	}
	panic("no stanza for " + c.Verb)
}

// rules writes the items of a privacy list, which the model has as lines.
func (p *Play) rules(text string) (xml string) {
	if text == "" {
		return ""
	}
	for n, line := range strings.Split(text, ";") {
		f := strings.Fields(line)
		xml += fmt.Sprintf("<item action='%s' order='%d'", f[0], n+1)
		if len(f) > 2 {
			value := f[2]
			if f[1] == "jid" {
				value = p.address(value)
			}
			xml += fmt.Sprintf(" type='%s' value='%s'", f[1], value)
		}
		xml += ">"
		if len(f) == 2 || len(f) == 4 {
			for _, what := range strings.Split(f[len(f)-1], ",") {
				xml += "<" + what + "/>"
			}
		}
		xml += "</item>"
	}
	return xml
}

func said(show, status string) string {
	xml := ""
	if show != "" {
		xml = "<show>" + show + "</show>"
	}
	if status != "" {
		xml += "<status>" + status + "</status>"
	}
	return xml
}

// address makes a JID of "name" or "name/resource".
func (p *Play) address(short string) string {
	name, resource, full := strings.Cut(short, "/")
	if full {
		resource = "/" + resource
	}
	return name + "@" + p.domain + resource
}

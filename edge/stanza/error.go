package stanza

// Condition is a condition of a stanza error (RFC 6120, section 8.3.3).
type Condition string

// All conditions of RFC 6120, section 8.3.3.
const (
	BadRequest            Condition = "bad-request"
	Conflict              Condition = "conflict"
	FeatureNotImplemented Condition = "feature-not-implemented"
	Forbidden             Condition = "forbidden"
	Gone                  Condition = "gone"
	InternalServerError   Condition = "internal-server-error"
	ItemNotFound          Condition = "item-not-found"
	JIDMalformed          Condition = "jid-malformed"
	NotAcceptable         Condition = "not-acceptable"
	NotAllowed            Condition = "not-allowed"
	NotAuthorized         Condition = "not-authorized"
	PolicyViolationStanza Condition = "policy-violation"
	RecipientUnavailable  Condition = "recipient-unavailable"
	Redirect              Condition = "redirect"
	RegistrationRequired  Condition = "registration-required"
	RemoteServerNotFound  Condition = "remote-server-not-found"
	RemoteServerTimeout   Condition = "remote-server-timeout"
	ResourceConstraint    Condition = "resource-constraint"
	ServiceUnavailable    Condition = "service-unavailable"
	SubscriptionRequired  Condition = "subscription-required"
	UndefinedCondition    Condition = "undefined-condition"
	UnexpectedRequest     Condition = "unexpected-request"
)

// ErrorType tells the sender what to do (RFC 6120, section 8.3.2).
type ErrorType string

// The types of RFC 6120, section 8.3.2.
const (
	Auth     ErrorType = "auth"     // retry after giving credentials
	Cancel   ErrorType = "cancel"   // do not retry
	Continue ErrorType = "continue" // it was only a warning
	Modify   ErrorType = "modify"   // retry after changing the data
	Wait     ErrorType = "wait"     // retry after waiting
)

// Type gives the type that RFC 6120, section 8.3.3, ties to the condition,
// the first one where it names two.
func (c Condition) Type() ErrorType {
	switch c {
	case BadRequest, JIDMalformed, NotAcceptable, PolicyViolationStanza, Redirect:
		return Modify
	case Forbidden, NotAuthorized, RegistrationRequired, SubscriptionRequired:
		return Auth
	case RecipientUnavailable, RemoteServerTimeout, ResourceConstraint, UnexpectedRequest:
		return Wait
	}
	return Cancel
}

// Valid tells whether RFC 6120 knows the condition.
func (c Condition) Valid() bool {
	switch c {
	case BadRequest, Conflict, FeatureNotImplemented, Forbidden, Gone, InternalServerError, ItemNotFound,
		JIDMalformed, NotAcceptable, NotAllowed, NotAuthorized, PolicyViolationStanza, RecipientUnavailable,
		Redirect, RegistrationRequired, RemoteServerNotFound, RemoteServerTimeout, ResourceConstraint,
		ServiceUnavailable, SubscriptionRequired, UndefinedCondition, UnexpectedRequest:
		return true
	}
	return false
}

// Error is a stanza error (RFC 6120, section 8.3): the stream goes on.
type Error struct {
	Type      ErrorType // "" stands for Condition.Type()
	Condition Condition
	By        string // who reports it; may be empty
	Text      string // for people; may be empty
	URI       string // the new address; of gone and redirect alone
	App       []byte // application-specific condition as canonical XML; may be nil
}

// NewError makes an Error with the condition's own type.
func NewError(c Condition, text string) *Error {
	return &Error{Type: c.Type(), Condition: c, Text: text}
}

// Error implements error.
func (e *Error) Error() string {
	if e.Text == "" {
		return "stanza error: " + string(e.Condition)
	}
	return "stanza error: " + string(e.Condition) + ": " + e.Text
}

// AppendTo appends the <error> element.
func (e *Error) AppendTo(dst []byte) []byte {
	t := e.Type
	if t == "" {
		t = e.Condition.Type()
	}
	dst = append(dst, "<error"...)
	dst = AppendAttr(dst, "by", e.By)
	dst = AppendAttr(dst, "type", string(t))
	dst = append(dst, "><"...)
	dst = append(dst, e.Condition...)
	dst = append(dst, " xmlns='"+NSStanzas+"'"...)
	if e.URI != "" && (e.Condition == Gone || e.Condition == Redirect) {
		dst = append(dst, '>')
		dst = AppendText(dst, e.URI)
		dst = append(dst, "</"...)
		dst = append(dst, e.Condition...)
		dst = append(dst, '>')
	} else {
		dst = append(dst, "/>"...)
	}
	if e.Text != "" {
		dst = append(dst, "<text xmlns='"+NSStanzas+"' xml:lang='en'>"...)
		dst = AppendText(dst, e.Text)
		dst = append(dst, "</text>"...)
	}
	dst = append(dst, e.App...)
	return append(dst, "</error>"...)
}

// AppendError appends the stanza of the kind that carries e. In h, To, From
// and ID are the answer's own; its Type is always error.
func AppendError(dst []byte, k Kind, h Header, e *Error) []byte {
	h.Type = "error"
	dst = appendOpen(dst, k.String(), h)
	dst = append(dst, '>')
	dst = e.AppendTo(dst)
	return appendClose(dst, k.String())
}

// ParseError reads the <error> of a stanza of type error. ok is false if it
// has none. A condition that is not known becomes undefined-condition.
func ParseError(inner []byte) (_ *Error, ok bool) {
	for c := range Children(inner) {
		if !c.Is(NSClient, "error") {
			continue
		}
		e := &Error{Condition: UndefinedCondition}
		el, err := c.Element()
		if err != nil {
			return nil, false
		}
		e.Type, e.By = ErrorType(el.Attr("type")), el.Attr("by")
		for _, x := range el.Children {
			switch {
			case x.Space != NSStanzas:
				e.App = x.AppendTo(e.App)
			case x.Local == "text":
				e.Text = x.Text
			case Condition(x.Local).Valid():
				e.Condition, e.URI = Condition(x.Local), x.Text
			}
		}
		return e, true
	}
	return nil, false
}

package stream

import (
	"context"

	"github.com/rollcall/rollcall/edge/stanza"
)

// Bind2Request is a request to bind a resource that came with the
// authentication (XEP-0386). It holds only what Options offer.
type Bind2Request struct {
	Tag      string    // what the client calls itself; Stream.Resource has it already
	Carbons  bool      // enable XEP-0280
	SM       *EnableSM // enable XEP-0198; nil: not asked for
	Inactive bool      // begin inactive (XEP-0352)
}

// EnableSM is <enable/> of XEP-0198, section 3.
type EnableSM struct {
	Resume bool // the client wants to be able to resume
	Max    int  // seconds that it would like to; 0: the server's choice
}

// ResumeRequest is <resume/> of XEP-0198, section 5, sent before a resource is
// bound or together with the authentication (XEP-0198, section 9.2).
type ResumeRequest struct {
	Previd string
	H      uint32 // stanzas that the client has handled
}

// Bind2 gives the request that came with the authentication; nil where the
// client binds by an iq, and where Resume asks for a resumption and nothing
// else.
func (s *Stream) Bind2() *Bind2Request { return s.bind2 }

// Resume gives the stream that the client wants to go on with; nil if none.
// While it is not nil nothing else may be answered than this: either
// AppendResumed or RefuseResume.
func (s *Stream) Resume() *ResumeRequest { return s.resume }

// RefuseResume tells the client that its stream is not resumed; failed is the
// whole <failed/>. When it returns nil there is another request: Resume's, if
// that is not nil, else one for a resource. When it fails the connection is
// closed, and the client was told why.
func (s *Stream) RefuseResume(ctx context.Context, failed []byte) error {
	s.resume = nil
	if err := s.n.write(failed); err != nil {
		s.n.fail(ctx, err)
		return err
	}
	return s.AwaitBind(ctx)
}

// AppendResumed appends the answer to a client whose stream is resumed;
// resumed is the whole <resumed/>, full the JID of the session. It goes out
// before anything else. With SASL2 it is the success.
func (s *Stream) AppendResumed(dst []byte, full string, resumed []byte) []byte {
	s.resume = nil
	return append(dst, resumed...)
}

// AppendBound appends the answer to a client whose resource is bound. It goes
// out before anything else. With Bind 2 it is the success, and inner is what
// <bound/> holds: the <enabled/> or <failed/> of XEP-0198, where SM was asked
// for. Without, it is the result of the iq, which holds nothing of inner.
func (s *Stream) AppendBound(dst []byte, full string, inner []byte) []byte {
	payload := append([]byte("<bind xmlns='"+stanza.NSBind+"'><jid>"), stanza.AppendText(nil, full)...)
	return stanza.AppendIQ(dst, stanza.Header{Type: "result", ID: s.bindID}, append(payload, "</jid></bind>"...))
}

package fanout

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/wire"
)

// The numbers of fields in wire.proto that are written by hand, so that the
// bytes of a presence are made once for frames to many edges and for answers.
const (
	toEdgeAnswer = 2
	toEdgeFrames = 3

	framesPartition = 1
	framesClaim     = 2
	framesFrames    = 3

	framePresence = 1

	answerPartition  = 1
	answerClaim      = 2
	answerNumber     = 3
	answerWhole      = 4
	answerNextOffset = 5
	answerPresent    = 6
	answerAdmissions = 7
	answerAccounts   = 8
	answerAudiences  = 9
)

// marshal gives the bytes of m. It does not fail on our own types: their
// strings are UTF-8, as they came from a parser or a decoder.
func marshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic("fanout: " + err.Error())
	}
	return b
}

func appendBytesField(b []byte, number protowire.Number, v []byte) []byte {
	b = protowire.AppendTag(b, number, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

func appendVarintField(b []byte, number protowire.Number, v uint64) []byte {
	b = protowire.AppendTag(b, number, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

func bytesFieldSize(number protowire.Number, n int) int {
	return protowire.SizeTag(number) + protowire.SizeBytes(n)
}

// presenceFrame gives the entry of Frames.frames for an encoded wire.Presence.
func presenceFrame(said []byte) []byte {
	inner := bytesFieldSize(framePresence, len(said))
	b := make([]byte, 0, bytesFieldSize(framesFrames, inner))
	b = protowire.AppendTag(b, framesFrames, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(inner))
	return appendBytesField(b, framePresence, said)
}

// frame gives the entry of Frames.frames for f.
func frame(f *wire.Frame) []byte {
	said := marshal(f)
	return appendBytesField(make([]byte, 0, bytesFieldSize(framesFrames, len(said))), framesFrames, said)
}

// framesHead gives the beginning of a ToEdge with Frames, of which size bytes
// of entries follow.
func framesHead(b []byte, partition int32, claim uint64, size int) []byte {
	inner := size
	if partition != 0 {
		inner += protowire.SizeTag(framesPartition) + protowire.SizeVarint(uint64(partition))
	}
	inner += protowire.SizeTag(framesClaim) + protowire.SizeVarint(claim)
	b = protowire.AppendTag(b, toEdgeFrames, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(inner))
	if partition != 0 {
		b = appendVarintField(b, framesPartition, uint64(partition))
	}
	return appendVarintField(b, framesClaim, claim)
}

// answerMessage is a ToEdge with an Answer in the making.
type answerMessage struct{ b []byte }

func newAnswer(partition int32, claim, number uint64, whole bool, nextOffset int64) *answerMessage {
	b := make([]byte, 0, 4096)
	b = appendVarintField(b, answerPartition, uint64(partition))
	b = appendVarintField(b, answerClaim, claim)
	b = appendVarintField(b, answerNumber, number)
	if whole {
		b = appendVarintField(b, answerWhole, 1)
	}
	return &answerMessage{appendVarintField(b, answerNextOffset, uint64(nextOffset))}
}

// account adds an account that was asked about, and the encoded presence of
// its available resources.
func (a *answerMessage) account(name string) {
	a.b = protowire.AppendTag(a.b, answerAccounts, protowire.BytesType)
	a.b = protowire.AppendString(a.b, name)
}

func (a *answerMessage) present(said []byte) { a.b = appendBytesField(a.b, answerPresent, said) }

func (a *answerMessage) admission(m *wire.Admission) {
	a.b = appendBytesField(a.b, answerAdmissions, marshal(m))
}

func (a *answerMessage) audience(m *wire.Audience) {
	a.b = appendBytesField(a.b, answerAudiences, marshal(m))
}

func (a *answerMessage) toEdge() []byte {
	return appendBytesField(make([]byte, 0, bytesFieldSize(toEdgeAnswer, len(a.b))), toEdgeAnswer, a.b)
}

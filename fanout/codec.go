package fanout

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers "proto"
	"google.golang.org/grpc/mem"
)

// maxMessage is the largest message that either side may send, in bytes.
const maxMessage = 64 << 20

// packed is a message that is encoded already. grpc frees the buffer.
type packed struct{ buffer mem.Buffer }

// codec is grpc's for messages, and passes packed ones on as they are: a
// frame that goes to many edges is encoded once.
type codec struct{}

var protoCodec = encoding.GetCodecV2("proto")

// Marshal gives the bytes of v.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if p, ok := v.(packed); ok {
		return mem.BufferSlice{p.buffer}, nil
	}
	return protoCodec.Marshal(v)
}

// Unmarshal reads a message.
func (codec) Unmarshal(data mem.BufferSlice, v any) error { return protoCodec.Unmarshal(data, v) }

// Name is what the other side takes it for.
func (codec) Name() string { return protoCodec.Name() }

package event_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/rollcall/rollcall/schema/event"
)

var update = flag.Bool("update", false, "write golden files that do not exist; none is ever rewritten")

// whole sets every field of m to a value that its number tells, so that the
// golden bytes hold each field once.
func whole(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			continue
		}
		n := int(f.Number())
		switch {
		case f.IsList():
			list := m.Mutable(f).List()
			if f.Message() != nil {
				element := list.NewElement()
				whole(element.Message())
				list.Append(element)
				continue
			}
			list.Append(protoreflect.ValueOfString("first " + string(f.Name())))
			list.Append(protoreflect.ValueOfString("second " + string(f.Name())))
		case f.Message() != nil:
			whole(m.Mutable(f).Message())
		case f.Kind() == protoreflect.BoolKind:
			m.Set(f, protoreflect.ValueOfBool(true))
		case f.Kind() == protoreflect.EnumKind:
			m.Set(f, protoreflect.ValueOfEnum(protoreflect.EnumNumber(f.Enum().Values().Len()-1)))
		case f.Kind() == protoreflect.Int32Kind:
			m.Set(f, protoreflect.ValueOfInt32(int32(-n)))
		case f.Kind() == protoreflect.Int64Kind:
			m.Set(f, protoreflect.ValueOfInt64(1_700_000_000_000_000+int64(n)))
		case f.Kind() == protoreflect.Uint64Kind:
			m.Set(f, protoreflect.ValueOfUint64(uint64(1000+n)))
		case f.Kind() == protoreflect.Uint32Kind:
			m.Set(f, protoreflect.ValueOfUint32(uint32(100+n)))
		case f.Kind() == protoreflect.BytesKind:
			m.Set(f, protoreflect.ValueOfBytes(bytes.Repeat([]byte{byte(n)}, 16)))
		default:
			m.Set(f, protoreflect.ValueOfString(string(f.Name())+" é"))
		}
	}
}

// each calls do with a whole envelope of each kind, and the kind's name.
func each(empty proto.Message, do func(name string, m proto.Message)) {
	kinds := empty.ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	for i := range kinds.Len() {
		m := empty.ProtoReflect().New()
		whole(m)
		f := kinds.Get(i)
		whole(m.Mutable(f).Message())
		do(string(f.Name()), m.Interface())
	}
}

// version is that of the golden bytes of today: it is raised when fields are
// added, and the bytes of earlier versions stay as they are.
const version = 3

// golden holds bytes to those that this version wrote first: every log that
// exists has them.
func golden(t *testing.T, name string, m proto.Message, marshal func() ([]byte, error), decode func([]byte) (proto.Message, error)) {
	t.Helper()
	got, err := marshal()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", fmt.Sprintf("v%d", version), name+".golden")
	want, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) && *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		want, err = got, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is now other bytes than the log has:\n got %x\nwant %x", name, got, want)
	}
	old, err := decode(want)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(old, m) {
		t.Errorf("%s decodes to %v, want %v", name, old, m)
	}
}

// Of what earlier versions wrote nothing is lost.
func TestGoldenOfEarlierVersions(t *testing.T) {
	for v := 1; v < version; v++ {
		files, err := filepath.Glob(filepath.Join("testdata", fmt.Sprintf("v%d", v), "*.golden"))
		if err != nil || len(files) == 0 {
			t.Fatalf("golden bytes of version %d: %v, %v", v, files, err)
		}
		for _, file := range files {
			old, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			again, err := rewrite(old, strings.HasPrefix(filepath.Base(file), "output_"))
			if err != nil || !bytes.Equal(again, old) {
				t.Errorf("%s: %v\n got %x\nwant %x", file, err, again, old)
			}
		}
	}
}

// rewrite decodes and encodes a record; fields that are not known count as lost.
func rewrite(b []byte, output bool) ([]byte, error) {
	if output {
		o, err := event.DecodeOutput(b)
		if err != nil {
			return nil, err
		}
		forget(o.ProtoReflect())
		return event.MarshalOutput(o)
	}
	e, err := event.Decode(b)
	if err != nil {
		return nil, err
	}
	forget(e.ProtoReflect())
	return event.Marshal(e)
}

// forget drops unknown fields.
func forget(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() != nil && !f.IsList() {
			forget(v.Message())
		}
		return true
	})
}

func decodeEvent(b []byte) (proto.Message, error)  { return event.Decode(b) }
func decodeOutput(b []byte) (proto.Message, error) { return event.DecodeOutput(b) }

func TestGoldenEvents(t *testing.T) {
	each((*event.Event)(nil), func(name string, m proto.Message) {
		t.Run(name, func(t *testing.T) {
			e := m.(*event.Event)
			golden(t, "event_"+name, m, func() ([]byte, error) { return event.Marshal(e) }, decodeEvent)
			if got := event.KindOf(e).String(); got != name {
				t.Errorf("kind is %s", got)
			}
		})
	})
}

func TestGoldenOutputs(t *testing.T) {
	each((*event.Output)(nil), func(name string, m proto.Message) {
		t.Run(name, func(t *testing.T) {
			o := m.(*event.Output)
			golden(t, "output_"+name, m, func() ([]byte, error) { return event.MarshalOutput(o) }, decodeOutput)
			if got := event.OutputKind(o); got != name {
				t.Errorf("kind is %s", got)
			}
		})
	})
}

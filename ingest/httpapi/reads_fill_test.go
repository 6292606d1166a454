package httpapi

import (
	"errors"

	"github.com/rollcall/rollcall/schema/event"
)

func refuseAll([]byte, event.MessageType) (*event.Message, error) {
	return nil, errors.New("nothing is sent here")
}

func fill(*Options, *library) {}

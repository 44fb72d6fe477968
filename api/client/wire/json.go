package wire

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/status"
)

// JSON returns the JSON form of a plain value of the API, indented, with the
// names of the protobuf definition: a cell, node or service and lists of the
// latter two, an event, the result of an apply, a new token, or the answer to a
// question about decisions. Empty fields are there too, and 64-bit numbers are strings, as protobuf's JSON has them.
func JSON(v any) ([]byte, error) {
	switch v := v.(type) {
	case status.Cell:
		return message(FromStatus(v))
	case status.Node:
		return message(FromNode(v))
	case status.Service:
		return message(FromService(v))
	case []status.Node:
		return list(v, FromNode)
	case []status.Service:
		return list(v, FromService)
	case event.Event:
		return message(FromEvent(v))
	case []event.Event:
		return list(v, FromEvent)
	case request.ApplyResult:
		return message(FromApplyResult(v))
	case request.TokenMade:
		return message(FromTokenMade(v))
	case reason.Why:
		return message(FromWhy(v))
	case reason.Outlook:
		return message(FromOutlook(v))
	case []reason.Decision:
		return list(v, FromDecision)
	case reason.Replayed:
		return message(FromReplayed(v))
	case request.Confirmed:
		return message(FromConfirmed(v))
	}
	return nil, fmt.Errorf("%T is no value of the API", v)
}

func message(m proto.Message) ([]byte, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return indent(text)
}

func list[V any, M proto.Message](values []V, from func(V) M) ([]byte, error) {
	items := make([]json.RawMessage, len(values))
	for i, v := range values {
		text, err := message(from(v))
		if err != nil {
			return nil, err
		}
		items[i] = text
	}
	text, err := json.Marshal(items)
	if err != nil {
		return nil, err
	}
	return indent(text)
}

// indent makes the text the same every time: protojson varies its blanks.
func indent(text []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

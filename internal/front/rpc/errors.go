package rpc

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/model/request"
)

// answer turns any error into one that the client understands: with a code,
// words for people and an ErrorDetail. nil stays nil.
func answer(err error) error {
	var e *request.Error
	var done *connect.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
	case errors.As(err, &done):
		return done
	case errors.Is(err, context.DeadlineExceeded):
		e = &request.Error{
			Kind: request.Expired, Code: "timeout", Text: "the time for the request was up: " + err.Error(),
			Hint: "it may or may not have been carried out; see `keelson status`",
		}
	case errors.Is(err, context.Canceled):
		// A caller who gave up does not read this.
		e = &request.Error{
			Kind: request.Canceled, Code: "canceled", Text: "the agent that was asked stopped before it was done",
			Hint: "ask again once it runs; `keelson status` on another node says whether it does",
		}
	default:
		e = &request.Error{Kind: request.Internal, Code: "internal", Text: err.Error()}
	}

	out := connect.NewError(code(e.Kind), errors.New(e.Text))
	if detail, err := connect.NewErrorDetail(&keelsonv1.ErrorDetail{Code: e.Code, Hint: e.Hint}); err == nil {
		out.AddDetail(detail)
	}
	return out
}

func code(k request.Kind) connect.Code {
	switch k {
	case request.Invalid:
		return connect.CodeInvalidArgument
	case request.NotFound:
		return connect.CodeNotFound
	case request.Exists:
		return connect.CodeAlreadyExists
	case request.Refused:
		return connect.CodeFailedPrecondition
	case request.Denied:
		return connect.CodePermissionDenied
	case request.Unknown:
		return connect.CodeUnauthenticated
	case request.Unavailable, request.Unreachable:
		return connect.CodeUnavailable
	case request.Conflict:
		return connect.CodeAborted
	case request.Exhausted:
		return connect.CodeResourceExhausted
	case request.Expired:
		return connect.CodeDeadlineExceeded
	case request.Canceled:
		return connect.CodeCanceled
	case request.Internal:
	}
	return connect.CodeInternal
}

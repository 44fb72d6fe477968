package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/model/request"
)

// understand turns the error of a call into an [*Error]; nil stays nil, and so
// does an [*Error]. ctx is that of the caller, without the call's own limit.
func (c *Client) understand(ctx context.Context, err error) error {
	var known *Error
	var remote *connect.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return &Error{Kind: request.Canceled, Code: "canceled", Text: "interrupted", Err: err}
	case errors.Is(err, errNobody):
		return c.unreachable(err)
	case !errors.As(err, &remote):
		return &Error{Kind: request.Internal, Code: "internal", Text: err.Error(), Err: err}
	}
	for _, d := range remote.Details() {
		value, bad := d.Value()
		if detail, ok := value.(*keelsonv1.ErrorDetail); bad == nil && ok {
			return &Error{Kind: kind(remote.Code()), Code: detail.GetCode(), Text: remote.Message(), Hint: detail.GetHint(), Err: err}
		}
	}
	return c.withoutDetail(ctx, remote)
}

// withoutDetail explains an error that does not come from the API's handlers:
// from the connection, or from something else that answers on that port.
func (c *Client) withoutDetail(ctx context.Context, err *connect.Error) error {
	// A connection that ends while the request is being written has no code.
	var broken *net.OpError
	lost := err.Code() == connect.CodeUnavailable || errors.As(err, &broken)
	if lost {
		if alert := c.alert(ctx); alert != nil {
			return &Error{
				Kind: request.Denied, Code: "certificate-refused", Err: err,
				Text: fmt.Sprintf("%s does not accept the certificate: %v", c.target, alert),
				Hint: "check that --cert is of this cell, not expired and not revoked",
			}
		}
	}
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch), strings.Contains(err.Message(), wrongVersion):
		return &Error{
			Kind: request.Unreachable, Code: "not-this-cell", Err: err,
			Text: fmt.Sprintf("%s is no node of a cell: what listens there does not speak TLS as nodes do", c.target),
			Hint: elsewhere,
		}
	case errors.As(err, &unknown), errors.As(err, &invalid):
		return &Error{
			Kind: request.Unreachable, Code: "not-this-cell", Err: err,
			Text: fmt.Sprintf("%s is no node of this cell: %s", c.target, err.Message()),
			Hint: "check the address, and that --ca is the authority of that cell",
		}
	case err.Code() == connect.CodeDeadlineExceeded:
		return &Error{
			Kind: request.Expired, Code: "timeout", Err: err, Text: c.target + " did not answer in time",
			Hint: "it may or may not have been carried out; see `keelson status`",
		}
	case lost:
		return c.unreachable(err)
	}
	return &Error{Kind: kind(err.Code()), Code: strings.ReplaceAll(err.Code().String(), "_", "-"), Text: err.Message(), Err: err}
}

// wrongVersion is how crypto/tls begins to tell of versions that do not fit; it has
// no type of its own.
const wrongVersion = "protocol version"

// alert connects once more and returns the alert with which the server ends the
// connection; nil if it does not. With TLS 1.3 a server that refuses a client's
// certificate says so only after the handshake, and HTTP/2 loses the reason.
func (c *Client) alert(ctx context.Context) error {
	conf := c.transport.TLSClientConfig
	if conf == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	raw, err := c.transport.DialContext(ctx, "tcp", c.target)
	if err != nil {
		return nil
	}
	defer raw.Close() //nolint:errcheck // nothing is lost with it
	conf = conf.Clone()
	conf.NextProtos = []string{"h2"}
	conn := tls.Client(raw, conf)
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil
	}
	_, err = conn.Read(make([]byte, 1))
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		return alert.Err
	}
	return nil
}

// reason is the innermost cause, which says enough.
func reason(err error) string {
	for {
		switch e := err.(type) { //nolint:errorlint // walks the chain by itself
		case interface{ Unwrap() error }:
			next := e.Unwrap()
			if next == nil {
				return err.Error()
			}
			err = next
		case interface{ Unwrap() []error }:
			list := e.Unwrap()
			if len(list) == 0 {
				return err.Error()
			}
			err = list[len(list)-1]
		default:
			return err.Error()
		}
	}
}

func kind(c connect.Code) request.Kind {
	switch c {
	case connect.CodeInvalidArgument, connect.CodeOutOfRange, connect.CodeUnimplemented:
		return request.Invalid
	case connect.CodeNotFound:
		return request.NotFound
	case connect.CodeAlreadyExists:
		return request.Exists
	case connect.CodeFailedPrecondition:
		return request.Refused
	case connect.CodePermissionDenied:
		return request.Denied
	case connect.CodeUnauthenticated:
		return request.Unknown
	case connect.CodeUnavailable:
		return request.Unavailable
	case connect.CodeAborted:
		return request.Conflict
	case connect.CodeResourceExhausted:
		return request.Exhausted
	case connect.CodeDeadlineExceeded:
		return request.Expired
	case connect.CodeCanceled:
		return request.Canceled
	case connect.CodeInternal, connect.CodeUnknown, connect.CodeDataLoss:
	}
	return request.Internal
}

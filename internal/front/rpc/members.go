package rpc

import (
	"context"

	"github.com/keelson/keelson/api/client/wire"
	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/model/request"
)

// joinService translates the one call of those who have no certificate yet.
type joinService struct{ members Members }

// Join makes the caller a member.
func (s *joinService) Join(ctx context.Context, r *req[keelsonv1.JoinRequest]) (*res[keelsonv1.JoinResponse], error) {
	joined, err := s.members.Join(ctx, wire.ToJoin(r.Msg))
	return reply(wire.FromJoined(joined), err)
}

// peerService translates what nodes ask of each other.
type peerService struct{ members Members }

// RenewCertificate signs a new certificate for the calling node.
func (s *peerService) RenewCertificate(ctx context.Context, r *req[keelsonv1.RenewCertificateRequest]) (*res[keelsonv1.RenewCertificateResponse], error) {
	renewed, err := s.members.Renew(ctx, request.Renew{Node: caller(ctx).Node, CSR: r.Msg.GetCsr()})
	return reply(&keelsonv1.RenewCertificateResponse{Certificate: renewed.Certificate, Ca: renewed.CA}, err)
}

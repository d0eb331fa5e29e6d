package admin

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// ListMembers lists who may sign in with OIDC.
func (s *Server) ListMembers(ctx context.Context, req *adminv1.ListMembersRequest) (*adminv1.ListMembersResponse, error) {
	customer, err := s.whose(ctx, req.GetCustomerId())
	if err != nil {
		return nil, err
	}
	page, err := store.MemberPage(req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	members, next, err := s.Store.Members(ctx, customer, page)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListMembersResponse{Members: members, NextPageToken: next}, rpc.SetNextPage(ctx, next)
}

// CreateMember lets someone in.
func (s *Server) CreateMember(ctx context.Context, req *adminv1.CreateMemberRequest) (*adminv1.CreateMemberResponse, error) {
	customer, err := s.customer(ctx, req.GetCustomerId())
	if err != nil {
		return nil, err
	}
	resp, by := &adminv1.CreateMemberResponse{}, auth.From(ctx).Actor()
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		resp.Member, err = tx.CreateMember(ctx, customer, strings.ToLower(req.GetEmail()), req.GetRole(), by)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: by, Action: "member.create", Customer: some(customer), Subject: resp.GetMember().GetMemberId(),
			Detail: map[string]any{"email": resp.GetMember().GetEmail(), "role": req.GetRole()},
		})
	})
	if err != nil {
		return nil, err
	}
	return resp, rpc.SetHTTPStatus(ctx, http.StatusCreated)
}

// UpdateMember changes a role.
func (s *Server) UpdateMember(ctx context.Context, req *adminv1.UpdateMemberRequest) (*adminv1.UpdateMemberResponse, error) {
	id, customer, err := s.member(ctx, req.GetMemberId())
	if err != nil {
		return nil, err
	}
	resp := &adminv1.UpdateMemberResponse{}
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		before, after, err := tx.SetMemberRole(ctx, id, customer, req.GetRole(), req.GetEtag())
		if err != nil {
			return err
		}
		resp.Member = after
		if before.GetRole() == after.GetRole() {
			return nil
		}
		return tx.Audit(ctx, store.Act{
			Actor: auth.From(ctx).Actor(), Action: "member.update", Customer: owner(after.GetCustomerId()), Subject: id.String(),
			Detail: map[string]any{"email": after.GetEmail(), "role_before": before.GetRole(), "role": after.GetRole()},
		})
	})
	if err != nil {
		return nil, err
	}
	s.Keys.Changed(ctx, id)
	return resp, nil
}

// DeleteMember shuts someone out and ends their sessions.
func (s *Server) DeleteMember(ctx context.Context, req *adminv1.DeleteMemberRequest) (*adminv1.DeleteMemberResponse, error) {
	id, customer, err := s.member(ctx, req.GetMemberId())
	if err != nil {
		return nil, err
	}
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		gone, now, err := tx.DeleteMember(ctx, id, customer)
		if err != nil || !now {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: auth.From(ctx).Actor(), Action: "member.delete", Customer: owner(gone.GetCustomerId()), Subject: id.String(),
			Detail: map[string]any{"email": gone.GetEmail(), "role": gone.GetRole()},
		})
	})
	if err != nil {
		return nil, err
	}
	s.Keys.Revoked(ctx, id)
	return &adminv1.DeleteMemberResponse{}, nil
}

// member reads the id of a member, and whose members the caller may change.
func (s *Server) member(ctx context.Context, id string) (uuid.UUID, uuid.NullUUID, error) {
	customer, err := auth.Customer(ctx)
	if err != nil {
		return uuid.UUID{}, customer, err
	}
	member, err := parse("member_id", id)
	return member, customer, err
}

// whose reads whose things are listed: one customer's, which must be the caller's own unless it is
// the platform's staff; by default all that the caller may see.
func (s *Server) whose(ctx context.Context, id string) (uuid.NullUUID, error) {
	if id == "" {
		return auth.Customer(ctx)
	}
	customer, err := s.customer(ctx, id)
	return some(customer), err
}

// owner is the customer of a message that the store made.
func owner(id string) uuid.NullUUID {
	customer, err := uuid.Parse(id)
	return uuid.NullUUID{UUID: customer, Valid: err == nil}
}

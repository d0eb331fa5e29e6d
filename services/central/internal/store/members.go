package store

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// memberOrder is the order of the list of members, as its page tokens say it.
const memberOrder = "email"

// MemberPage reads size and token of a request for the list of members.
func MemberPage(size int32, token string) (Page, error) { return NewPage(size, token, memberOrder) }

// Members lists a page of a customer's members by e-mail, or of everybody's, and says
// where the next begins.
func (s *Store) Members(ctx context.Context, customer uuid.NullUUID, page Page) ([]*adminv1.Member, string, error) {
	params := centraldb.MemberListParams{CustomerID: customer, Rows: int32(page.Limit) + 1}
	var err error
	if params.AfterEmail, params.AfterID, err = page.namePlace(); err != nil {
		return nil, "", err
	}
	rows, err := s.q.MemberList(ctx, s.db, params)
	if err != nil {
		return nil, "", wrap("listing", "members", err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.Member) Cursor {
		return Cursor{Order: memberOrder, Key: row.Email, ID: row.MemberID.String()}
	})
	members := make([]*adminv1.Member, 0, len(rows))
	for _, row := range rows {
		members = append(members, memberMessage(row))
	}
	return members, next, err
}

// SignInMember is the member with an e-mail, whatever its case.
func (s *Store) SignInMember(ctx context.Context, email string) (*Key, error) {
	row, err := s.q.MemberByEmail(ForEveryone(ctx), s.db, email) // whose it is, the e-mail says
	if err != nil {
		return nil, wrap("member", "", err)
	}
	return &Key{
		CustomerID: some(row.CustomerID), Scope: row.Role, CustomerStatus: row.CustomerStatus, Email: row.Email, MemberID: some(row.MemberID),
	}, nil
}

// CreateMember lets someone in.
func (s *Store) CreateMember(ctx context.Context, customer uuid.UUID, email, role, by string) (*adminv1.Member, error) {
	row, err := s.q.MemberCreate(ctx, s.db, centraldb.MemberCreateParams{CustomerID: customer, Email: email, Role: role, CreatedBy: by})
	if err != nil {
		return nil, wrap("member", email, err)
	}
	return memberMessage(row), nil
}

// SetMemberRole changes a role, unless the member is of another version than etag by now;
// an empty one is whichever. It returns the member as it was and as it is. It must be called in a transaction.
func (s *Store) SetMemberRole(ctx context.Context, id uuid.UUID, customer uuid.NullUUID, role, etag string) (before, after *adminv1.Member, err error) {
	row, err := s.q.MemberByID(ctx, s.db, centraldb.MemberByIDParams{MemberID: id, CustomerID: customer})
	switch {
	case err != nil:
		return nil, nil, wrap("member", id.String(), err)
	case row.DeletedAt != nil:
		return nil, nil, fault.NotFound("member", id.String())
	case etag != "" && etag != etagOf(row.Version):
		return nil, nil, errChanged("member", id.String(), etagOf(row.Version))
	case row.Role == role:
		return memberMessage(row), memberMessage(row), nil
	}
	now, err := s.q.MemberSetRole(ctx, s.db, centraldb.MemberSetRoleParams{MemberID: id, Role: role})
	if err != nil {
		return nil, nil, wrap("member", id.String(), err)
	}
	return memberMessage(row), memberMessage(now), nil
}

// DeleteMember shuts someone out and ends their sessions; false: they were out already.
// It must be called in a transaction.
func (s *Store) DeleteMember(ctx context.Context, id uuid.UUID, customer uuid.NullUUID) (*adminv1.Member, bool, error) {
	row, err := s.q.MemberByID(ctx, s.db, centraldb.MemberByIDParams{MemberID: id, CustomerID: customer})
	if err != nil {
		return nil, false, wrap("member", id.String(), err)
	}
	if row.DeletedAt != nil {
		return memberMessage(row), false, nil
	}
	if err := s.q.MemberDelete(ctx, s.db, id); err != nil {
		return nil, false, wrap("deleting member", id.String(), err)
	}
	err = s.q.SessionRevokeOfMember(ctx, s.db, some(id))
	return memberMessage(row), true, wrap("ending sessions of member", id.String(), err)
}

func memberMessage(row centraldb.Member) *adminv1.Member {
	return &adminv1.Member{
		MemberId: row.MemberID.String(), CustomerId: row.CustomerID.String(), Email: row.Email, Role: row.Role,
		CreatedAt: timestamppb.New(row.CreatedAt), CreatedBy: row.CreatedBy, LastSeenAt: stamp(row.LastSeenAt), Etag: etagOf(row.Version),
	}
}

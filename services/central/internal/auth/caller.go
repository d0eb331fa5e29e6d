// Package auth says who is calling and what they may call; whatever is not allowed is denied.
package auth

import (
	"context"

	"github.com/google/uuid"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// Caller is who a credential speaks for.
type Caller struct {
	Kind accessv1.Caller
	// CustomerID is null for the platform's staff and for other servers: every customer.
	CustomerID uuid.NullUUID
	// ClusterID is set for agents alone.
	ClusterID uuid.NullUUID
	// KeyID is zero for members.
	KeyID uuid.UUID
	// Scope of the key, or role of the member.
	Scope string
	// Prefix and Description are the key's.
	Prefix, Description string
	// MemberID and Email are of a person who signed in with OIDC.
	MemberID uuid.NullUUID
	Email    string
	// SessionID is null for a key that is sent with each call.
	SessionID uuid.NullUUID
}

// Actor names the caller in the audit log.
func (c Caller) Actor() string {
	switch {
	case c.Email != "":
		return "member:" + c.Email
	case c.Prefix != "":
		return "key:" + c.Prefix
	default:
		return c.Scope + ":" + c.KeyID.String()
	}
}

// id is by whom calls are counted: all sessions of a person, or of a key, are one.
func (c Caller) id() uuid.UUID {
	if c.MemberID.Valid {
		return c.MemberID.UUID
	}
	return c.KeyID
}

// kinds are the scopes an API key may have.
var kinds = map[string]accessv1.Caller{
	"agent":    accessv1.Caller_CALLER_AGENT,
	"viewer":   accessv1.Caller_CALLER_VIEWER,
	"operator": accessv1.Caller_CALLER_OPERATOR,
	"admin":    accessv1.Caller_CALLER_ADMIN,
	"platform": accessv1.Caller_CALLER_PLATFORM,
	"service":  accessv1.Caller_CALLER_SERVICE,
}

func callerOf(key *store.Key) Caller {
	return Caller{
		Kind: kinds[key.Scope], CustomerID: key.CustomerID, ClusterID: key.ClusterID,
		KeyID: key.ID.UUID, Scope: key.Scope, Prefix: key.Prefix, Description: key.Description,
		MemberID: key.MemberID, Email: key.Email, SessionID: key.SessionID,
	}
}

type callerContext struct{}

// With puts the caller into the context, and lets the database show what is the caller's alone.
func With(ctx context.Context, caller Caller) context.Context {
	ctx = context.WithValue(ctx, callerContext{}, caller)
	switch {
	case caller.CustomerID.Valid:
		return store.ForCustomer(ctx, caller.CustomerID.UUID)
	case caller.Kind == accessv1.Caller_CALLER_PLATFORM, caller.Kind == accessv1.Caller_CALLER_SERVICE:
		return store.ForEveryone(ctx)
	default:
		return ctx
	}
}

// From is the caller of the call in ctx; the zero Caller, which may see nothing,
// when the call needs no credential.
func From(ctx context.Context) Caller {
	caller, _ := ctx.Value(callerContext{}).(Caller)
	return caller
}

// Customer is whose things the caller may see: one customer's, or all when
// null. It is the argument that every query takes, so that what belongs to
// others is not found rather than forbidden.
func Customer(ctx context.Context) (uuid.NullUUID, error) {
	caller := From(ctx)
	switch {
	case caller.CustomerID.Valid, caller.Kind == accessv1.Caller_CALLER_PLATFORM, caller.Kind == accessv1.Caller_CALLER_SERVICE:
		return caller.CustomerID, nil
	default:
		return uuid.NullUUID{}, denied("the key belongs to no customer")
	}
}

// Cluster lets an agent speak of its own cluster alone. Others pass: the
// queries see to their limits.
func Cluster(ctx context.Context, cluster uuid.UUID) error {
	caller := From(ctx)
	if caller.Kind == accessv1.Caller_CALLER_UNSPECIFIED {
		return denied("the call has no caller")
	}
	if caller.Kind == accessv1.Caller_CALLER_AGENT && caller.ClusterID != (uuid.NullUUID{UUID: cluster, Valid: true}) {
		return denied("the key is of another cluster").With("cluster_id", cluster.String())
	}
	return nil
}

func denied(why string) *fault.Error {
	return fault.New(faultv1.Reason_REASON_PERMISSION_DENIED, "Insufficient permissions: %s", why)
}

// unknown never says why, so that nobody learns which keys exist.
func unknown() *fault.Error {
	return fault.New(faultv1.Reason_REASON_UNAUTHENTICATED, "Invalid API key")
}

package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

// Act is one line of the audit log.
type Act struct {
	Actor, Action, Subject string
	Customer, Cluster      uuid.NullUUID
	Detail                 map[string]any
}

// Audit appends a line; in a transaction, it stands or falls with what it tells of.
// The request that caused it, if one did, is taken from ctx.
func (s *Store) Audit(ctx context.Context, act Act) error {
	detail, err := json.Marshal(act.Detail)
	if err != nil || act.Detail == nil {
		detail = []byte("{}")
	}
	err = s.q.AuditAppend(ctx, s.db, centraldb.AuditAppendParams{
		Actor: act.Actor, Action: act.Action, CustomerID: act.Customer, ClusterID: act.Cluster, Subject: act.Subject, Detail: detail,
		RequestID: rpc.RequestID(ctx),
	})
	return wrap("auditing", act.Action, err)
}

// AuditFilter says which entries are looked for; what is zero does not matter.
type AuditFilter struct {
	Customer, Cluster uuid.NullUUID
	// Action and Actor are exact, or end with a star.
	Action, Actor, Subject string
	Start, End             *time.Time
}

// AuditEntries lists a page of the log, newest first, and the token of the next one.
func (s *Store) AuditEntries(ctx context.Context, f AuditFilter, page Page) ([]*adminv1.AuditEntry, string, error) {
	params := centraldb.AuditListParams{
		CustomerID: f.Customer, ClusterID: f.Cluster, Subject: text(f.Subject), NotBefore: f.Start, Before: f.End,
		MaxRows: int32(page.Limit) + 1,
	}
	params.Action, params.ActionPrefix = starred(f.Action)
	params.Actor, params.ActorPrefix = starred(f.Actor)
	if page.After != nil {
		at, err := page.After.moment()
		if err != nil {
			return nil, "", err
		}
		if params.AfterID, err = page.After.number(); err != nil {
			return nil, "", err
		}
		params.AfterAt = &at
	}
	rows, err := s.q.AuditList(ctx, s.db, params)
	if err != nil {
		return nil, "", wrap("listing", "the audit log", err)
	}
	rows, next, err := Cut(page, rows, func(row centraldb.AuditListRow) Cursor {
		return dated("", row.At, strconv.FormatInt(row.AuditID, 10))
	})
	if err != nil {
		return nil, "", err
	}
	out := make([]*adminv1.AuditEntry, 0, len(rows))
	for _, row := range rows {
		detail := &structpb.Struct{}
		if err := decode(row.Detail, detail); err != nil {
			return nil, "", wrap("reading audit entry", strconv.FormatInt(row.AuditID, 10), err)
		}
		out = append(out, &adminv1.AuditEntry{
			Sequence: row.Sequence, At: timestamppb.New(row.At), Actor: row.Actor, Action: row.Action, CustomerId: idText(row.CustomerID),
			ClusterId: idText(row.ClusterID), Subject: row.Subject, Detail: detail, Hash: hex.EncodeToString(row.Hash), RequestId: row.RequestID,
		})
	}
	return out, next, nil
}

// starred is what a text must equal, or begin with when it ends with a star.
func starred(pattern string) (exact, prefix *string) {
	if before, ok := strings.CutSuffix(pattern, "*"); ok {
		return nil, &before
	}
	return text(pattern), nil
}

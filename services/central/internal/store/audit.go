package store

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
)

// Act is one line of the audit log.
type Act struct {
	Actor, Action, Subject string
	Customer, Cluster      uuid.NullUUID
	Detail                 map[string]any
}

// Audit appends a line; in a transaction, it stands or falls with what it tells of.
func (s *Store) Audit(ctx context.Context, act Act) error {
	detail, err := json.Marshal(act.Detail)
	if err != nil || act.Detail == nil {
		detail = []byte("{}")
	}
	err = s.q.AuditAppend(ctx, s.db, centraldb.AuditAppendParams{
		Actor: act.Actor, Action: act.Action, CustomerID: act.Customer, ClusterID: act.Cluster, Subject: act.Subject, Detail: detail,
	})
	return wrap("auditing", act.Action, err)
}

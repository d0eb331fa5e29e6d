package admin

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/audit"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// ListAudit lists what people and CloudOptim did, newest first.
func (s *Server) ListAudit(ctx context.Context, req *adminv1.ListAuditRequest) (*adminv1.ListAuditResponse, error) {
	filter := store.AuditFilter{Action: req.GetAction(), Actor: req.GetActor(), Subject: req.GetSubject()}
	var err error
	if filter.Customer, err = auth.Customer(ctx); err != nil {
		return nil, err
	}
	if filter.Start, err = instant("start", req.GetStart()); err != nil {
		return nil, err
	}
	if filter.End, err = instant("end", req.GetEnd()); err != nil {
		return nil, err
	}
	// A cluster that is gone has its entries still.
	var missing error
	if filter.Cluster, missing = s.cluster(ctx, req.GetClusterId()); missing != nil {
		if fault.ReasonOf(missing) != faultv1.Reason_REASON_NOT_FOUND {
			return nil, missing
		}
		id, err := parse("cluster_id", req.GetClusterId())
		if err != nil {
			return nil, err
		}
		filter.Cluster = some(id)
	}
	page, err := store.NewPage(req.GetPageSize(), req.GetPageToken(), "")
	if err != nil {
		return nil, err
	}
	entries, next, err := s.Store.AuditEntries(ctx, filter, page)
	if err != nil {
		return nil, err
	}
	if missing != nil && len(entries) == 0 {
		return nil, missing
	}
	return &adminv1.ListAuditResponse{Entries: entries, NextPageToken: next}, rpc.SetNextPage(ctx, next)
}

// VerifyAudit recomputes the chain of hashes over the whole log.
func (s *Server) VerifyAudit(ctx context.Context, req *adminv1.VerifyAuditRequest) (*adminv1.VerifyAuditResponse, error) {
	return audit.Verify(ctx, s.Store, req.GetKnownHead())
}

// instant reads a time that need not be there.
func instant(field string, at *timestamppb.Timestamp) (*time.Time, error) {
	if at == nil {
		return nil, nil
	}
	if err := at.CheckValid(); err != nil {
		return nil, fault.Invalid(field, "must be between the years 1 and 9999")
	}
	t := at.AsTime()
	return &t, nil
}

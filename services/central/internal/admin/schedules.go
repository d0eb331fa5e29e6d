package admin

import (
	"context"
	"net/http"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// ListSchedules lists them by name.
func (s *Server) ListSchedules(ctx context.Context, req *adminv1.ListSchedulesRequest) (*adminv1.ListSchedulesResponse, error) {
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	page, err := store.NewPage(req.GetPageSize(), req.GetPageToken(), store.ScheduleOrder)
	if err != nil {
		return nil, err
	}
	resp := &adminv1.ListSchedulesResponse{}
	if resp.Schedules, resp.NextPageToken, err = s.Schedules.List(ctx, customer, cluster, page); err != nil {
		return nil, err
	}
	return resp, rpc.SetNextPage(ctx, resp.NextPageToken)
}

// CreateSchedule makes one.
func (s *Server) CreateSchedule(ctx context.Context, req *adminv1.CreateScheduleRequest) (*adminv1.CreateScheduleResponse, error) {
	cluster, err := s.cluster(ctx, req.GetSchedule().GetClusterId())
	if err != nil {
		return nil, err
	}
	made, err := s.Schedules.Create(ctx, cluster.UUID, req.GetSchedule(), auth.From(ctx).Actor())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateScheduleResponse{Schedule: made}, rpc.SetHTTPStatus(ctx, http.StatusCreated)
}

// UpdateSchedule replaces one of the version that the caller looked at.
func (s *Server) UpdateSchedule(ctx context.Context, req *adminv1.UpdateScheduleRequest) (*adminv1.UpdateScheduleResponse, error) {
	id, err := parse("schedule.schedule_id", req.GetSchedule().GetScheduleId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	now, err := s.Schedules.Update(ctx, id, customer, req.GetSchedule(), auth.From(ctx).Actor())
	return &adminv1.UpdateScheduleResponse{Schedule: now}, err
}

// DeleteSchedule wakes what sleeps by one, and removes it.
func (s *Server) DeleteSchedule(ctx context.Context, req *adminv1.DeleteScheduleRequest) (*adminv1.DeleteScheduleResponse, error) {
	id, err := parse("schedule_id", req.GetScheduleId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteScheduleResponse{}, s.Schedules.Delete(ctx, id, customer, auth.From(ctx).Actor())
}

// WakeSchedule keeps one awake until a time.
func (s *Server) WakeSchedule(ctx context.Context, req *adminv1.WakeScheduleRequest) (*adminv1.WakeScheduleResponse, error) {
	id, err := parse("schedule_id", req.GetScheduleId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	now, err := s.Schedules.Wake(ctx, id, customer, req, auth.From(ctx).Actor())
	return &adminv1.WakeScheduleResponse{Schedule: now}, err
}

// PreviewSchedule says what one would do.
func (s *Server) PreviewSchedule(ctx context.Context, req *adminv1.PreviewScheduleRequest) (*adminv1.PreviewScheduleResponse, error) {
	cluster, err := s.cluster(ctx, req.GetSchedule().GetClusterId())
	if err != nil {
		return nil, err
	}
	return s.Schedules.Preview(ctx, cluster.UUID, req.GetSchedule())
}

// ListScheduleRuns lists what one has done.
func (s *Server) ListScheduleRuns(ctx context.Context, req *adminv1.ListScheduleRunsRequest) (*adminv1.ListScheduleRunsResponse, error) {
	id, err := parse("schedule_id", req.GetScheduleId())
	if err != nil {
		return nil, err
	}
	customer, err := auth.Customer(ctx)
	if err != nil {
		return nil, err
	}
	page, err := store.NewPage(req.GetPageSize(), req.GetPageToken(), store.ScheduleRunOrder)
	if err != nil {
		return nil, err
	}
	resp := &adminv1.ListScheduleRunsResponse{}
	if resp.Runs, resp.NextPageToken, err = s.Schedules.Runs(ctx, id, customer, page); err != nil {
		return nil, err
	}
	return resp, rpc.SetNextPage(ctx, resp.NextPageToken)
}

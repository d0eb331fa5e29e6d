package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
)

// beatEvery is how often a dashboard hears that the line lives.
const beatEvery = 15 * time.Second

// Stream sends what changes, as it happens. It begins with a heartbeat: what
// happens after it is in the stream. A heartbeat with a message says that
// something was missed, so that the dashboard reads the state again.
func (s *Server) Stream(req *adminv1.StreamRequest, stream grpc.ServerStreamingServer[adminv1.StreamResponse]) error {
	ctx := stream.Context()
	customer, err := auth.Customer(ctx)
	if err != nil {
		return err
	}
	cluster, err := s.cluster(ctx, req.GetClusterId())
	if err != nil {
		return err
	}
	news := s.Bus.ListenDashboard(customer)
	defer news.Close()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	told := news.Missed()
	if err := stream.Send(heartbeat(0)); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case raw := <-news.C:
			err = s.pass(ctx, raw, cluster, stream)
		case <-beat.C:
			missed := news.Missed()
			err = stream.Send(heartbeat(missed - told))
			told = missed
		}
		if err != nil {
			return err
		}
	}
}

// pass sends one message on, if it is about the cluster asked for.
func (s *Server) pass(ctx context.Context, raw []byte, cluster uuid.NullUUID, stream grpc.ServerStreamingServer[adminv1.StreamResponse]) error {
	what, err := bus.Dashboard(raw)
	if err != nil { // of a newer replica, perhaps
		s.Log.WarnContext(ctx, "a message on the bus cannot be read", "error", err)
		return nil
	}
	if cluster.Valid && what.GetClusterId() != cluster.UUID.String() {
		return nil
	}
	return stream.Send(what)
}

func heartbeat(missed uint64) *adminv1.StreamResponse {
	beat := &adminv1.StreamResponse{Type: "heartbeat", Timestamp: timestamppb.Now()}
	if missed > 0 {
		beat.Message = fmt.Sprintf("%d or more messages were missed: read the state again", missed)
	}
	return beat
}

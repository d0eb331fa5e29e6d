package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/gen/openapi"
	"github.com/cloudoptim/cloudoptim/pkg/observe"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/pkg/run"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/gaps"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/market"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

// server is ml's two doors: gRPC, and REST in front of it.
type server struct {
	rpc    *rpc.Server
	http   http.Handler
	models *models.Registry
}

func newServer(s *settings, told *observe.Telemetry, prices *market.Market, account *market.Account, database *store.Store) (*server, error) {
	uses := newTrained(told.Log, database)
	decisions, err := decide.New(decide.Config{Market: prices, Log: told.Log, Risk: uses.risk})
	if err != nil {
		return nil, fmt.Errorf("preparing decisions: %w", err)
	}
	data := gaps.Config{Store: database, Log: told.Log}
	if s.Market.Refresh != "off" {
		data.History = &market.History{Market: prices, Account: account}
	}
	health := models.Config{Market: prices, Registry: uses.registry}
	if database != nil {
		health.Database = database
	}
	foreteller := predict.Config{Market: prices, Models: uses, Log: told.Log}
	if database != nil {
		foreteller.Records = database
	}
	predictions, err := predict.New(foreteller)
	if err != nil {
		return nil, fmt.Errorf("preparing predictions: %w", err)
	}
	uses.predictions = predictions
	srv := rpc.NewServer(rpc.ServerConfig{Log: told.Log, Authorizer: auth.New(s.keys())})
	mlv1.RegisterDecisionServiceServer(srv, decisions)
	mlv1.RegisterPredictionServiceServer(srv, watched{predictions, uses.registry})
	mlv1.RegisterDataServiceServer(srv, gaps.New(data))
	mlv1.RegisterModelServiceServer(srv, models.New(health))
	mlv1.RegisterMarketServiceServer(srv, market.NewServer(prices))
	conn, err := rpc.InProcess(srv)
	if err != nil {
		return nil, fmt.Errorf("connecting REST to gRPC: %w", err)
	}
	rest, err := gateway(conn)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", rpc.Front(rest))
	mux.Handle("GET /metrics", told.Metrics)
	mux.HandleFunc("GET /openapi.json", rpc.ServeJSON(openapi.ML))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	return &server{rpc: srv, http: mux, models: uses.registry}, nil
}

// gateway is the documented REST paths, an ordinary client of the gRPC server.
func gateway(conn *grpc.ClientConn) (http.Handler, error) {
	mux := rpc.NewMux()
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		mlv1.RegisterDecisionServiceHandler, mlv1.RegisterPredictionServiceHandler,
		mlv1.RegisterDataServiceHandler, mlv1.RegisterModelServiceHandler,
	} {
		if err := register(context.Background(), mux, conn); err != nil {
			return nil, fmt.Errorf("registering REST paths: %w", err)
		}
	}
	return mux, nil
}

// fetchWithin bounds one HTTP call for prices.
const fetchWithin = 2 * time.Minute

// refresher keeps the market fresh, unless that is switched off.
func refresher(s *settings, log *slog.Logger, prices *market.Market, account *market.Account) run.Part {
	if s.Market.Refresh == "off" {
		return func(context.Context) error { return nil }
	}
	r := &market.Refresher{
		Market: prices, Account: account, Regions: s.regions(), AdvisorURL: s.AWS.SpotAdvisorURL,
		Every: s.AWS.SpotAdvisorRefreshInterval(), HTTP: &http.Client{Timeout: fetchWithin}, Log: log,
	}
	return r.Run
}

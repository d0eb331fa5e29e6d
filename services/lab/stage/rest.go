package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// REST is a user of central's REST paths.
type REST struct {
	Base string
	Key  string
}

// Failure is an answer that is not 2xx, with the documented error body.
type Failure struct {
	Status int
	Body   string
}

// Error has status and body.
func (f *Failure) Error() string { return fmt.Sprintf("HTTP %d: %s", f.Status, f.Body) }

// Do sends in as JSON, unless it is nil, and reads the answer into out, unless it is nil.
func (r REST) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.Base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.Key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %w", method, path, &Failure{Status: resp.StatusCode, Body: string(raw)})
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

// Get reads path into out.
func (r REST) Get(ctx context.Context, path string, out any) error {
	return r.Do(ctx, http.MethodGet, path, nil, out)
}

// Post sends in to path and reads the answer into out.
func (r REST) Post(ctx context.Context, path string, in, out any) error {
	return r.Do(ctx, http.MethodPost, path, in, out)
}

// State is what the stage looks at of a cluster's state.
type State struct {
	TotalNodes         int     `json:"total_nodes"`
	SpotNodes          int     `json:"spot_nodes"`
	TotalPods          int     `json:"total_pods"`
	RunningPods        int     `json:"running_pods"`
	PendingPods        int     `json:"pending_pods"`
	CurrentCostPerHour float64 `json:"current_cost_per_hour"`
	BaselineCost       float64 `json:"baseline_cost_per_hour"`
	HealthStatus       string  `json:"health_status"`
	Nodes              []Node  `json:"nodes"`
}

// Node is one node of it.
type Node struct {
	Name         string  `json:"node_name"`
	InstanceID   string  `json:"instance_id"`
	InstanceType string  `json:"instance_type"`
	Zone         string  `json:"availability_zone"`
	NodeType     string  `json:"node_type"`
	HourlyPrice  float64 `json:"hourly_price"`
	Ready        bool    `json:"ready"`
	// Unschedulable: it is cordoned.
	Unschedulable bool `json:"unschedulable"`
}

// SpotEvent is what the stage looks at of what AWS said about an instance.
type SpotEvent struct {
	EventID               string         `json:"event_id"`
	EventType             string         `json:"event_type"`
	InstanceID            string         `json:"instance_id"`
	ReceivedAt            time.Time      `json:"received_at"`
	InterruptionTime      time.Time      `json:"interruption_time"`
	ClusterID             string         `json:"cluster_id"`
	NodeName              string         `json:"node_name"`
	ActionTaken           string         `json:"action_taken"`
	ReplacementInstanceID string         `json:"replacement_instance_id"`
	Metadata              map[string]any `json:"metadata"`
	State                 string         `json:"state"`
}

// Optimization is what the stage looks at of an optimization.
type Optimization struct {
	ID               string  `json:"optimization_id"`
	Type             string  `json:"optimization_type"`
	Status           string  `json:"status"`
	EstimatedSavings float64 `json:"estimated_savings"`
	ActualSavings    float64 `json:"actual_savings"`
	CostBefore       float64 `json:"cost_before_per_hour"`
	CostAfter        float64 `json:"cost_after_per_hour"`
	ErrorMessage     string  `json:"error_message"`
	Steps            []Step  `json:"steps"`
	Launched         []struct {
		InstanceID   string  `json:"instance_id"`
		InstanceType string  `json:"instance_type"`
		NodeType     string  `json:"node_type"`
		HourlyPrice  float64 `json:"hourly_price"`
		NodeName     string  `json:"node_name"`
	} `json:"launched"`
}

// Step is one step of it.
type Step struct {
	Position   int            `json:"position"`
	Name       string         `json:"name"`
	Status     string         `json:"status"`
	StartedAt  *time.Time     `json:"started_at"`
	FinishedAt *time.Time     `json:"finished_at"`
	Detail     map[string]any `json:"detail"`
	Error      string         `json:"error"`
}

// Seconds that the step took, 0 while it has not ended.
func (s Step) Seconds() float64 {
	if s.StartedAt == nil || s.FinishedAt == nil {
		return 0
	}
	return s.FinishedAt.Sub(*s.StartedAt).Seconds()
}

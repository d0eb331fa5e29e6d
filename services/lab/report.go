package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// show prints before and after, and returns why it is not good enough.
func show(before, after stage.State, o stage.Optimization, budgets *stage.Budgets) (verdict, err error) {
	watched, seen, broken, err := budgets.Verdict()
	if err != nil {
		return nil, err
	}
	share := func(st stage.State) float64 { return 100 * float64(st.SpotNodes) / float64(max(st.TotalNodes, 1)) }
	fmt.Printf("\n%-34s %12s %12s\n", "", "before", "after")
	fmt.Printf("%-34s %12d %12d\n", "nodes", before.TotalNodes, after.TotalNodes)
	fmt.Printf("%-34s %11.0f%% %11.0f%%\n", "of which spot", share(before), share(after))
	fmt.Printf("%-34s %12d %12d\n", "running pods", before.RunningPods, after.RunningPods)
	fmt.Printf("%-34s %12d %12d\n", "pending pods", before.PendingPods, after.PendingPods)
	fmt.Printf("%-34s %12.3f %12.3f\n", "USD per hour", before.CurrentCostPerHour, after.CurrentCostPerHour)
	fmt.Printf("%-34s %12s %12.0f\n", "saving, USD per month", "", o.ActualSavings)
	fmt.Printf("%-34s %12s %12.0f\n", "… as promised by the decision", "", o.EstimatedSavings)
	if o.CostBefore > 0 {
		fmt.Printf("%-34s %12s %11.0f%%\n", "… of what was spent", "", 100*(o.CostBefore-o.CostAfter)/o.CostBefore)
	}
	fmt.Printf("\nstep         seconds\n")
	for _, step := range o.Steps {
		if step.Status != "skipped" {
			fmt.Printf("%-12s %7.1f  %s\n", step.Name, step.Seconds(), step.Status)
		}
	}
	fmt.Printf("\ndisruption budgets: %d watched through %d changes of their status, %d broken\n", watched, seen, len(broken))
	for name, worst := range broken {
		fmt.Printf("  %s: %s\n", name, worst)
	}
	if watched > 0 && len(broken) == 0 {
		fmt.Println("every guarded pod ran at or above its budget throughout")
	}
	if o.ErrorMessage != "" {
		fmt.Println("remarks:", o.ErrorMessage)
	}
	return verdictOf(o, len(broken)), nil
}

// showUI says where the admin UI is, and what opens it.
func showUI(s *stage.Stage) {
	fmt.Printf(`
  the admin UI   %s
  sign in with   %s
  as staff with  %s   (models and data, customers)

`, s.Admin.Base, s.Admin.Key, s.Platform.Key)
}

// tryThis says what a newcomer can do now.
func tryThis(s *stage.Stage, o stage.Optimization) {
	fmt.Printf(`
Everything keeps running until Ctrl-C. The admin UI is at %[2]s. Try:

  export KEY=%[1]s
  curl -s -H "Authorization: Bearer $KEY" %[2]s/api/v1/admin/clusters
  curl -s -H "Authorization: Bearer $KEY" %[2]s/api/v1/admin/savings
  curl -s -H "Authorization: Bearer $KEY" %[2]s/api/v1/admin/optimizations/%[3]s
  curl -s -H "Authorization: Bearer $KEY" -d '{"cluster_id":"%[4]s","optimization_type":"spot_optimize"}' \
       %[2]s/api/v1/admin/optimization/trigger        # again: finds nothing left to do
  grpcurl -plaintext -H "Authorization: Bearer $KEY" %[5]s cloudoptim.admin.v1.AdminService/ListClusters
  grpcurl -plaintext %[6]s list                        # ml
  kubectl --kubeconfig %[7]s get nodes -L node.kubernetes.io/instance-type -L cloudoptim.io/capacity-type
  bin/lab interrupt --dir %[8]s/lab                    # AWS takes the busiest Spot node back
  curl -s -H "Authorization: Bearer $KEY" %[2]s/api/v1/admin/spot-events
  %[2]s/openapi.json  %[2]s/metrics
  logs: %[8]s/*.log
`, s.Admin.Key, s.Admin.Base, o.ID, s.ClusterID, s.Addr("central.grpc"), s.Addr("ml.grpc"), s.Lab.Kubeconfig, s.Dir)
}

// writeReport keeps the figures for the benchmarks.
func writeReport(file string, s *stage.Stage, o stage.Optimization) error {
	steps := map[string]float64{}
	for _, step := range o.Steps {
		if step.Status == "completed" {
			steps[step.Name] = step.Seconds()
		}
	}
	memory := map[string]int64{}
	for name, p := range map[string]*stage.Process{"central": s.Central, "ml": s.ML, "agent": s.Agent} {
		rss, err := p.RSS()
		if err != nil {
			return err
		}
		memory[name] = rss
	}
	raw, err := json.MarshalIndent(map[string]any{
		"steps_s": steps, "rss_bytes": memory, "actual_savings_usd_month": o.ActualSavings, "estimated_savings_usd_month": o.EstimatedSavings,
		"cost_before_usd_hour": o.CostBefore, "cost_after_usd_hour": o.CostAfter,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(raw, '\n'), 0o600)
}

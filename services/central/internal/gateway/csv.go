package gateway

import (
	"bytes"
	"context"
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

// savingsCSV is GET /api/v1/admin/savings/history.csv: SavingsService.GetSavingsHistory as a table
// of its points, each cluster's total and the total of all.
func (g *gateway) savingsCSV(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), g.Timeout)
	defer cancel()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	req := &adminv1.GetSavingsHistoryRequest{}
	if err := runtime.PopulateQueryParameters(req, r.URL.Query(), utilities.NewDoubleArray(nil)); err != nil {
		rpc.WriteError(w, fault.Malformed("the query cannot be read: %s", explain(err)))
		return
	}
	resp, err := adminv1.NewSavingsServiceClient(g.Conn).GetSavingsHistory(outgoing(ctx, r), req)
	if err != nil {
		rpc.WriteError(w, err)
		return
	}
	table, err := savingsTable(req, resp)
	if err != nil {
		rpc.WriteError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="cloudoptim-savings-`+
		resp.GetTotal().GetStart().AsTime().Format(time.DateOnly)+"-"+resp.GetTotal().GetEnd().AsTime().Format(time.DateOnly)+`.csv"`)
	_, _ = w.Write(table)
}

var mechanisms = []string{"spot_optimize", "bin_pack", "rightsize", "schedule", "interruption"}

func savingsTable(req *adminv1.GetSavingsHistoryRequest, resp *adminv1.GetSavingsHistoryResponse) ([]byte, error) {
	var out bytes.Buffer
	table := csv.NewWriter(&out)
	table.UseCRLF = true // RFC 4180
	head := []string{"row", "cluster_id", "cluster_name", "start", "end", "baseline_usd", "actual_usd", "saved_usd"}
	for _, mechanism := range mechanisms {
		head = append(head, "saved_"+mechanism+"_usd")
	}
	rows := [][]string{append(head, "spot_node_hours", "on_demand_node_hours", "unpriced_node_hours", "coverage")}
	id, name := "", ""
	if req.GetClusterId() != "" && len(resp.GetClusters()) == 1 {
		id, name = resp.GetClusters()[0].GetClusterId(), resp.GetClusters()[0].GetClusterName()
	}
	for _, point := range resp.GetPoints() {
		rows = append(rows, savingsRow(resp.GetStep(), id, name, point))
	}
	for _, c := range resp.GetClusters() {
		rows = append(rows, savingsRow("cluster", c.GetClusterId(), c.GetClusterName(), c.GetTotal()))
	}
	rows = append(rows, savingsRow("total", id, name, resp.GetTotal()))
	err := table.WriteAll(rows)
	return out.Bytes(), err
}

func savingsRow(kind, id, name string, p *adminv1.SavingsPoint) []string {
	money := func(usd float64) string { return strconv.FormatFloat(usd, 'f', 6, 64) }
	row := []string{
		kind, id, harmless(name), p.GetStart().AsTime().Format(time.RFC3339), p.GetEnd().AsTime().Format(time.RFC3339),
		money(p.GetBaseline()), money(p.GetActual()), money(p.GetSaved()),
	}
	for _, mechanism := range mechanisms {
		row = append(row, money(p.GetByMechanism()[mechanism]))
	}
	for _, n := range []float64{p.GetSpotNodeHours(), p.GetOnDemandNodeHours(), p.GetUnpricedNodeHours(), p.GetCoverage()} {
		row = append(row, strconv.FormatFloat(n, 'f', 6, 64))
	}
	return row
}

// harmless keeps a spreadsheet from taking a name for a formula.
func harmless(name string) string {
	if strings.ContainsAny(firstOf(name), "=+-@\t\r\n＝＋－＠") {
		return "'" + name
	}
	return name
}

// firstOf is the first character that a spreadsheet would look at.
func firstOf(name string) string {
	for _, r := range strings.TrimLeft(name, " ") {
		return string(r)
	}
	return "" // nothing in it
}

package interruption

import (
	"context"
	"net/url"
	"strings"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/listen"
)

// Queues are the queues to listen to: one for each address, whoever's they are.
func (s *Service) Queues(ctx context.Context) ([]listen.Queue, error) {
	rows, err := s.Store.EventQueues(ctx)
	var out []listen.Queue
	for _, row := range rows { // in the order of their addresses
		if n := len(out); n > 0 && out[n-1].URL == row.URL {
			out[n-1].Customers = append(out[n-1].Customers, row.CustomerID)
			out[n-1].Shared = true // two customers read it, so perhaps others do
			continue
		}
		q := listen.Queue{URL: row.URL, Region: queueRegion(row.URL), RoleARN: row.RoleARN, ExternalID: row.ExternalID, Shared: row.Shared}
		if q.Region == "" {
			q.Region = row.Region
		}
		q.Customers = append(q.Customers, row.CustomerID)
		out = append(out, q)
	}
	return out, err
}

// queueRegion is in AWS's addresses, e.g. https://sqs.eu-west-1.amazonaws.com/1/q.
func queueRegion(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	part := strings.Split(u.Hostname(), ".")
	if len(part) >= 4 && part[0] == "sqs" && part[2] == "amazonaws" {
		return part[1]
	}
	return ""
}

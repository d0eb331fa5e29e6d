package series

import "time"

// Causes of a gap.
const (
	AgentDown    = "agent_down"
	ScrapeFailed = "scrape_failed"
	Refused      = "refused"
	NotExisting  = "not_existing"
	NotKept      = "not_kept"
	Unknown      = "unknown"
)

// Kinds of silence.
const (
	AgentSilent   = "agent"
	CentralSilent = "central"
	Unwatched     = "unwatched"
)

// noticed is how long a silence lasts before central notes it.
const noticed = int64(3 * time.Minute / time.Millisecond)

// Silence is a time without heartbeats.
type Silence struct {
	Kind         string
	Since, Until int64
}

// Cause of a gap in a cluster's reports. The silences are the cluster's own and
// central's; what covers half of the gap is its cause, central's before the agent's,
// for a central that is away hears no agent.
func Cause(g Gap, silences []Silence) string {
	covered := map[string]int64{}
	for _, s := range silences {
		if part := min(s.Until, g.End) - max(s.Since, g.Start); part > 0 {
			covered[s.Kind] += part
		}
	}
	half := (g.Length() + 1) / 2
	switch {
	case covered[CentralSilent] >= half:
		return Refused
	case covered[AgentSilent] >= half:
		return AgentDown
	case covered[Unwatched] >= half, g.Length() < noticed:
		return Unknown
	}
	return ScrapeFailed
}

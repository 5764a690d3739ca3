"""A ready-made world to try plans on: three numbers and one agent with a good and a bad new version."""

from rollout.sandbox.control import Operations

AGENT = "agent_frontdesk"
BASELINE, GOOD, BAD, DRAFT = 6, 7, 8, 9
NUMBERS = ("+14157774444", "+14157774445", "+14157774446")


def build(
    operations: Operations, *, calls_per_hour: float = 120.0, duration_s: float = 90.0, analysis_delay_s: float = 20.0
) -> None:
    """Put the world together. For a quick show: 72,000 calls an hour, 0.2 s long, analysed within 0.1 s."""
    pace = {"duration_s": duration_s, "analysis_delay_s": analysis_delay_s}
    operations.add_agent(
        AGENT,
        [
            {"version": BASELINE, "title": "Baseline", "success": 0.85, "hard_error": 0.01, **pace},
            {"version": GOOD, "base_version": BASELINE, "title": "Friendlier greeting", "success": 0.88, **pace},
            {
                "version": BAD,
                "base_version": BASELINE,
                "title": "Drops calls",
                "success": 0.2,
                "hard_error": 0.8,
                "negative": 0.6,
                "latency_p50_ms": 2500.0,
                **pace,
            },
            {"version": DRAFT, "base_version": GOOD, "is_published": False, "success": 0.88, **pace},
        ],
        agent_name="Front desk",
        tags={"staging": DRAFT, "prod": BASELINE},
    )
    split = [{"agent_id": AGENT, "agent_version": BASELINE, "weight": 1}]
    for number, nickname in zip(NUMBERS, ("Frontdesk Main", "Frontdesk Overflow", "Clinic Evening"), strict=True):
        operations.add_number(
            number,
            nickname=nickname,
            inbound_agents=split,
            outbound_agents=split if number == NUMBERS[2] else None,
            calls_per_hour={"inbound": calls_per_hour, "outbound": calls_per_hour / 4 if number == NUMBERS[2] else 0.0},
        )

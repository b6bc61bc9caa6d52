"""``planner measure``: some steps really trained here, beside the estimate."""

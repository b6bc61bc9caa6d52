"""Parts of a budget that are asked anew: other offers, other assumptions."""

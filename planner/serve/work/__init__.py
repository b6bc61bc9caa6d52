"""Questions answered in processes of their own: what they keep, and how they are asked."""

"""What the figures share: styles of sets and losses, the arrangement of axes and legends, and their alt texts."""

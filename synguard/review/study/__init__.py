"""The blinded reader study: can people tell the synthetic images from real ones, and do they see what the labels say?

plan       how many images, how many readers, the margin, which images: fixed and recorded before anything is shown
draw       the balanced, seeded choice of images
answers    what readers said, as the ledger has it
session    one reader at work
page       what the reader sees, on this machine alone
exchange   the same for readers elsewhere: a folder of images, and a table of answers that comes back
numbers    AUC, F1, verdict: arrays in, numbers out
results    what follows from plan and answers

Looking real is not being private: a perfect copy looks most real of all. No figure of a study is a metric of the gate.
"""

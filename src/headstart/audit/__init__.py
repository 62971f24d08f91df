"""Problems of the data itself: duplicates, wrong labels, outliers, unusable images and classes.

The audit reports and never deletes; `prepare.exclude` leaves images out.
"""

"""The metrics of the catalogue, one entry each, in the order of `docs/metrics.md`."""

from __future__ import annotations

from synguard.metrics._spec import Direction, MetricSpec
from synguard.metrics.sample_size import Family

__all__ = ["SPECS"]

_COUNT = "Count over every image; no chance error"
_EXACT = "Exact one-sided bound (Clopper and Pearson)"
_PATIENTS = "Bootstrap over patients, each side by itself; one-sided bound"
_JACKKNIFE = "Jackknife over blocks of images; one-sided bound"

_BAYES = "Bayesian bootstrap over candidates and holdout patients (Rubin 1981, doi:10.1214/aos/1176345338); one-sided bound"

_GAINED = (
    "(attack - control) / (1 - control), one attack a patient; score interval for the ratio of the shares that fail, "
    + ("Koopman 1984, doi:10.2307/2531405; one-sided bound")
)

_CP = "Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404"
_ROC = "Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747"
_LIRA = "Carlini et al. 2022, arXiv:2112.03570, section III"
_EXTRACT = "Carlini et al. 2023, arXiv:2301.13188"
_BLIND = "Das et al. 2024, arXiv:2406.16201"
_SHARE = "Platzer and Reutterer 2021, arXiv:2104.00635, section 3.2"
_ONE_RUN = "Steinke et al. 2023, arXiv:2305.08846; Mahloujifar et al. 2024, arXiv:2410.22235"
_RISKS = "Giomi et al. 2023, arXiv:2211.10459; WP29 opinion 05/2014 on anonymisation techniques"
_ROBUST = "Naeem et al. 2020, arXiv:2002.09797, equations 3 and 4"
_IMPROVED = "Kynkäänniemi et al. 2019, arXiv:1904.06991, equation 1"
_BALANCED = "Brodersen et al. 2010, doi:10.1109/ICPR.2010.764"
_LATER = "Reserved: this version does not measure it, so a limit on it finds no evidence and nothing passes."


def _copies(name: str, title: str, description: str, source: str = "synguard") -> MetricSpec:
    return MetricSpec(
        name=name,
        title=title,
        unit="images",
        direction="lower",
        held_on="value",
        family="census",
        method=_COUNT,
        source=source,
        description=description,
        groups="none: every candidate examined, planted copies excluded; `accepted`: what would be released",
    )


def _auc(name: str, title: str, source: str, description: str, method: str = _PATIENTS, **more: str) -> MetricSpec:
    return MetricSpec(
        name=name,
        title=title,
        unit="AUC",
        direction="lower",
        held_on="upper",
        family="auc",
        method=method,
        source=source,
        description=description,
        sample="images a side",
        groups=more.get("groups", ""),
    )


def _tpr(name: str, title: str, description: str) -> MetricSpec:
    return MetricSpec(
        name=name,
        title=title,
        unit="share",
        direction="lower",
        held_on="upper",
        family="tpr",
        method=f"{_EXACT} on the members; the threshold comes from the non-members",
        source=_LIRA,
        description=description,
        sample="members",
    )


def _share(name: str, title: str, direction: Direction, family: Family, method: str, source: str, **more: str) -> MetricSpec:
    return MetricSpec(
        name=name,
        title=title,
        unit="share",
        direction=direction,
        held_on="upper" if direction == "lower" else "lower",
        family=family,
        method=method,
        source=source,
        description=more["description"],
        sample=more.get("sample", "images"),
        groups=more.get("groups", ""),
    )


def _value(
    name: str,
    title: str,
    unit: str,
    direction: Direction,
    source: str,
    description: str,
    family: Family = "census",
    **more: str,
) -> MetricSpec:
    return MetricSpec(
        name=name,
        title=title,
        unit=unit,
        direction=direction,
        held_on="value",
        family=family,
        method=more.get("method", _COUNT),
        source=source,
        description=description,
        sample=more.get("sample", "images"),
        groups=more.get("groups", ""),
    )


def _distance(name: str, title: str, source: str, description: str) -> MetricSpec:
    return MetricSpec(
        name=name,
        title=title,
        unit="distance",
        direction="lower",
        held_on="upper",
        family="estimate",
        method=_JACKKNIFE,
        source=source,
        description=description,
    )


SPECS = (
    _copies(
        "memorisation.exact_copies",
        "Exact copies",
        "Images whose bytes or decoded pixels equal those of a private image.",
    ),
    _copies(
        "memorisation.verified_copies",
        "Verified copies",
        "Images that show a private image, whatever was done to it: likeness beyond that of every calibration image, and "
        "the same content in the same place after alignment. Exact copies count too.",
        _EXTRACT,
    ),
    _copies(
        "memorisation.holdout_copies",
        "Images of the holdout",
        "Images that are an image of the holdout: the same file or the same pixels, also mirrored or turned by quarters. "
        "They show real patients too, and figures that compare with the holdout would take them for good. No policy lets "
        "one into a release.",
        _EXTRACT,
    ),
    _share(
        "memorisation.near_copy_rate",
        "Near copies",
        "lower",
        "rate",
        _EXACT,
        _CP,
        description="Share of the candidates that are nearer to a private image than an unseen real photograph is, by the "
        "calibrated likeness, and hold up under alignment.",
    ),
    _share(
        "memorisation.train_holdout_share",
        "Nearer to private than to holdout",
        "lower",
        "share_half",
        f"{_EXACT}; candidates with the same nearest image count as one",
        _SHARE,
        description="Share of the candidates nearer to a private image than to a holdout image, in sets of equal size; ties "
        "count half. A half where nothing leaks. Invalid where private set and holdout can be told apart without any model.",
    ),
    _value(
        "memorisation.minimum_detectable_copies",
        "Fewest copies that would have been seen",
        "copies",
        "lower",
        "synguard; ln 0.05 / ln(1 - lower bound of recall)",
        "The smallest number of copies of which the audit would have found at least one, with 95 % confidence.",
        method="From the lower bound of the planted recall",
        sample="planted copies",
        groups="none: the weakest transform; one a transform",
    ),
    _share(
        "memorisation.planted_recall",
        "The audit's own test copies found",
        "higher",
        "recall",
        _EXACT,
        _CP,
        description="Share of the copies that the audit planted itself and found again, with the right private image.",
        sample="planted copies",
        groups="one a transform",
    ),
    _copies(
        "memorisation.review_images",
        "Images to look at",
        "Images on the review list, which holds the false discovery rate at 5 %. Never refused by themselves.",
        "Benjamini and Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x; Bates et al. 2023, arXiv:2104.08279",
    ),
    _auc(
        "memorisation.autoencoder.auc",
        "Autoencoder: private against unseen images",
        "Hilprecht et al. 2019, doi:10.2478/popets-2019-0067 (reconstruction attack); Watson et al. 2022, arXiv:2111.08440",
        "How well the error of an image through encoder and decoder tells private from holdout images: the autoencoder of a "
        "latent diffusion model has seen the private images too. The log of the mean squared error is compared with that "
        "expected for the image's look, by regression on the calibration role. Invalid where private set and holdout can be "
        "told apart without any model, not tested without a model that has an autoencoder.",
    ),
    MetricSpec(
        name="memorisation.autoencoder.gap",
        title="Autoencoder: how much better private images are restored",
        unit="ratio",
        direction="lower",
        held_on="upper",
        family="estimate",
        method=_PATIENTS,
        source="Yeom et al. 2018, arXiv:1709.01604 (generalisation gap)",
        description="1 - mean squared error on private / mean squared error on holdout images, all through encoder and "
        "decoder: 0.2 where private images are restored with 20 % less error, 0 where nothing is remembered, below 0 where "
        "the private images of the sample are the harder ones. In the state of `memorisation.autoencoder.auc`.",
        sample="images a side",
    ),
    _auc(
        "membership.split.auc",
        "Private against holdout, without any model",
        _BLIND,
        "How well the best of several classifiers that never see the generator tells private from holdout images: by pixel "
        "statistics, metadata, a frozen embedding, all together, and by nearest neighbours. Above chance, every membership "
        "figure measures the split and not the generator, and is invalid.",
        method="Cross-validated by patient, the whole procedure done anew without parts of the patients (jackknife)",
    ),
    _auc(
        "membership.placebo.auc",
        "Placebo",
        _BLIND,
        "The classifier of the split on the private set alone, its patients cut at random: what it reaches where there is "
        "nothing to find.",
    ),
    _auc(
        "membership.white_box.auc",
        "Membership, with the model",
        "Matsumoto et al. 2023, arXiv:2302.03262; Duan et al. 2023, arXiv:2302.01316; Kong et al. 2024, arXiv:2305.18355",
        "How well the model tells private from holdout images: the worst of all white-box probes and their ensemble, on any "
        "set of its weights.",
        method=f"{_PATIENTS}; of the ensemble, of the whole cross-validated procedure",
    ),
    _tpr(
        "membership.white_box.tpr_at_fpr_0.01",
        "Members named with the model, at 1 % false alarms",
        "Share of the private images that the worst white-box probe names while it accuses 1 % of the holdout.",
    ),
    _auc(
        "membership.black_box.auc",
        "Membership, from the images alone",
        "Hilprecht et al. 2019, doi:10.2478/popets-2019-0067",
        "How well nearness to the synthetic images tells private from holdout images; where other features than "
        "synguard's own are configured, the worse of both.",
    ),
    _tpr(
        "membership.black_box.tpr_at_fpr_0.01",
        "Members named from the images, at 1 % false alarms",
        "Share of the private images that the black-box probe names while it accuses 1 % of the holdout.",
    ),
    _value(
        "membership.epsilon_lower_bound",
        "Privacy loss that the canaries prove",
        "epsilon",
        "lower",
        _ONE_RUN,
        "Lower bound on epsilon, at the delta of the training: coins put canary patients in or left them out, and an attack "
        "with the model guessed more of the coins than any smaller epsilon allows. 0 where nothing is proven, which is no "
        "proof of privacy. Insufficient below 100 canaries; not tested where no coins were thrown.",
        method="One-run audit: the value is a 95 % bound, with every way of guessing that was tried paid for (Bonferroni)",
        sample="canaries",
        groups="none: for any mechanism, by the recursion of arXiv:2410.22235; `steinke`: the same by theorem 5.2, which "
        "pays more for delta; `gaussian`: if the trade-off curve is Gaussian",
    ),
    _value(
        "membership.epsilon_equivalent",
        "Epsilon equivalent of the membership attack",
        "epsilon",
        "lower",
        _ONE_RUN,
        "What the arithmetic of the one-run audit makes of private against holdout images where no coin decided who is in. "
        "It is comparable with other models on the same split, and no bound: a split that differs by itself raises it.",
        # Not a census: what breaks a limit on an invalid split has shown nothing.
        family="estimate",
        method="As the one-run audit, on equal numbers of private and holdout patients; nothing was randomised",
        sample="patients",
    ),
    _value(
        "training.epsilon_upper_bound",
        "Privacy loss by the accountant",
        "epsilon",
        "lower",
        "Abadi et al. 2016, arXiv:1607.00133; Gopi et al. 2021, arXiv:2106.02848",
        "Upper bound on epsilon, per patient, that the accountant of private training vouches for; its note names the delta "
        "and what is not covered (the autoencoder unless it is public, label counts, tuning). Invalid where canaries prove "
        "more; not tested where the training was not private.",
        method="Privacy loss composed numerically, the upper end of the accountant's own error; no chance error",
        sample="patients",
    ),
    _share(
        "disclosure.singling_out",
        "Singling out",
        "lower",
        "estimate",
        _GAINED,
        _RISKS,
        description="Gain over the control of this attack: a synthetic image stands for the patient who has a photograph "
        "within a distance that finds somebody for one unseen patient in a hundred, and for nobody else in a group as large "
        "as the holdout's evaluation role. Invalid where private set and holdout can be told apart without any model.",
        sample="patients a side",
    ),
    _share(
        "disclosure.linkability",
        "Linkability",
        "lower",
        "estimate",
        _GAINED,
        _RISKS,
        description="Gain over the control of this attack: two photographs of a patient, or two parts of one where patients "
        "have no second, are linked because the same synthetic image is nearest to both. Invalid where private set and "
        "holdout can be told apart without any model.",
        sample="patients a side",
    ),
    _share(
        "disclosure.inference",
        "Inference",
        "lower",
        "estimate",
        _GAINED,
        _RISKS,
        description="Gain over the control of this attack: an attribute of a patient is guessed by the label of the "
        "synthetic image nearest to a photograph of the patient. What a picture shows by itself, the control shows as well. "
        "Invalid where private set and holdout can be told apart without any model, not tested without an attribute with "
        "levels.",
        sample="patients a side",
        groups="none: the attribute with the highest bound; `attribute`",
    ),
    _share(
        "labels.agreement",
        "Asked and read labels agree",
        "higher",
        "estimate",
        _BAYES,
        "synguard",
        description="Share of the candidates on which the diagnostic model reads the label that was asked.",
        groups="none: all attributes; `attribute`; `attribute=level`",
    ),
    _share(
        "labels.agreement_share",
        "Agreement as share of the ceiling",
        "higher",
        "agreement",
        _BAYES,
        "synguard; ceiling after SynFundus-1M, arXiv:2312.00377",
        description="`labels.agreement` divided by `labels.ceiling`, so that the generator is not blamed for what the "
        "diagnostic model cannot read.",
        groups="none: all attributes; `attribute`; `attribute=level`",
    ),
    _share(
        "labels.ceiling",
        "Diagnostic model on real images",
        "higher",
        "estimate",
        _BAYES,
        "synguard",
        description="Share of real holdout images on which the diagnostic model reads the recorded label: what no "
        "generator can beat.",
        groups="none: all attributes; `attribute`; `attribute=level`",
    ),
    MetricSpec(
        name="labels.kappa",
        title="Weighted kappa",
        unit="kappa",
        direction="higher",
        held_on="lower",
        family="estimate",
        method=_BAYES,
        source="Cohen 1968, doi:10.1037/h0026256",
        description="Agreement of asked and read grades beyond chance, quadratic weights.",
        groups="`attribute`, ordinal ones",
    ),
    _share(
        "labels.balanced_agreement",
        "Asked and read labels agree, every level alike",
        "higher",
        "estimate",
        _BAYES,
        _BALANCED,
        description="Mean over the levels of the share on which the diagnostic model reads the level that was asked.",
        groups="none: all attributes; `attribute`",
    ),
    _share(
        "labels.skill_share",
        "Agreement beyond chance as share of the ceiling",
        "higher",
        "estimate",
        _BAYES,
        "synguard",
        description="What balanced agreement has above guessing, divided by what real holdout images have above guessing.",
        groups="none: all attributes; `attribute`",
    ),
    _value(
        "labels.ceiling_reconstructed",
        "Diagnostic model on reconstructed images",
        "share",
        "higher",
        "synguard",
        "`labels.ceiling` on the same images after the generator's autoencoder: what it blurs shows as the difference.",
        groups="`attribute`",
    ),
    _value(
        "labels.holdout_refused",
        "Real images that the label stage would refuse",
        "share",
        "lower",
        "synguard",
        "Share of real holdout images that the refusal thresholds of the label stage would have sent to quarantine.",
        sample="holdout images",
    ),
    MetricSpec(
        name="labels.correlation",
        title="Correlation of asked and read values",
        unit="correlation",
        direction="higher",
        held_on="lower",
        family="estimate",
        method=_BAYES,
        source="Pearson's r",
        description="Correlation of the values asked and the values read, of continuous attributes.",
        groups="`attribute`, continuous ones",
    ),
    MetricSpec(
        name="labels.mean_error",
        title="Mean error of read values",
        unit="own unit",
        direction="lower",
        held_on="upper",
        family="estimate",
        method=_BAYES,
        source="Mean absolute error",
        description="Mean absolute difference of the values asked and read, in the attribute's own unit.",
        groups="`attribute`, continuous ones",
    ),
    _distance(
        "fidelity.frechet_distance",
        "Fréchet distance",
        "Heusel et al. 2017, arXiv:1706.08500, equation 6",
        "Distance of two Gaussians fitted to real and synthetic features. The baseline is that of real against real images.",
    ),
    _distance(
        "fidelity.kernel_distance",
        "Kernel distance",
        "Bińkowski et al. 2018, arXiv:1801.01401, section 4",
        "Unbiased squared MMD of real and synthetic features with the cubic kernel.",
    ),
    _share(
        "fidelity.precision",
        "Precision",
        "higher",
        "estimate",
        _JACKKNIFE,
        _IMPROVED,
        description="Share of the synthetic images inside the neighbourhoods of the real ones.",
    ),
    _share(
        "fidelity.recall",
        "Recall",
        "higher",
        "estimate",
        _JACKKNIFE,
        _IMPROVED,
        description="Share of the real images inside the neighbourhoods of the synthetic ones.",
    ),
    MetricSpec(
        name="fidelity.density",
        title="Density",
        unit="ratio",
        direction="higher",
        held_on="lower",
        family="estimate",
        method=_JACKKNIFE,
        source=_ROBUST,
        description="Real neighbourhoods that a synthetic image lies in, over the number expected; may pass 1.",
    ),
    _share(
        "fidelity.coverage",
        "Coverage",
        "higher",
        "estimate",
        _JACKKNIFE,
        _ROBUST,
        description="Share of the real images with a synthetic image among their neighbours.",
    ),
    _auc(
        "fidelity.blind_auc",
        "Real against synthetic",
        "Lopez-Paz and Oquab 2017, arXiv:1610.06545",
        "How well a fresh classifier tells synthetic from real images: a half where it cannot.",
        method=_JACKKNIFE,
    ),
    _value(
        "text.burned_in",
        "Burned-in text",
        "images",
        "lower",
        "synguard",
        f"Images with readable text in their pixels. {_LATER}",
    ),
    _value(
        "review.pairs_open",
        "Flagged pairs that people have not settled",
        "pairs",
        "lower",
        "synguard",
        "Flagged pairs, those of the review list among them, of which two readers have not said the same and been sure. A "
        "pair that the run kept no pictures of stays open. Measured by `synguard gate`, from the ledger.",
        method=_COUNT,
    ),
    _copies(
        "review.copies_confirmed",
        "Copies that people confirmed",
        "Flagged candidates that two readers, neither of whom saw the other's verdict, called copies. One in what would be "
        "released fails under any policy; none confirmed takes nothing back of what the audit verified.",
    ),
    MetricSpec(
        name="review.kappa",
        title="Agreement of two readers",
        unit="kappa",
        direction="higher",
        held_on="lower",
        family="estimate",
        method="Bayesian bootstrap over pairs (Rubin 1981, doi:10.1214/aos/1176345338); one-sided bound",
        source="Cohen 1960, doi:10.1177/001316446002000104",
        description="Agreement beyond chance of the two readers with the most pairs in common, over the four verdicts and "
        "all pairs that both read, controls and known copies among them.",
        sample="pairs",
    ),
    _share(
        "review.known_copies_found",
        "Known copies that a reader called copies",
        "higher",
        "recall",
        _EXACT,
        _CP,
        description="Private images, changed by the audit itself and mixed among the pairs, that the reader took for what "
        "they are.",
        sample="known copies",
        groups="one a reader, numbered in the order of their first verdicts",
    ),
    _value(
        "run.quarantine_rate",
        "Refused candidates",
        "share",
        "lower",
        "synguard",
        "Share of the candidates that a stage sent to quarantine or people took out.",
        groups="none: all together; `copies`; `labels`; `sheets`, `by hand` where there are any",
    ),
    _value(
        "accepted.images",
        "Accepted images",
        "images",
        "higher",
        "synguard",
        "Images that would be released.",
    ),
    _value(
        "run.attempts",
        "Attempts at the gate",
        "attempts",
        "lower",
        "Dwork et al. 2015, doi:10.1126/science.aaa9375: evidence that answers often is used up",
        "How often the gate has been asked about a private set or a holdout that overlaps with this one, with this time. "
        "The ledger counts them; where nobody counted, there is no value, and a cap on it does not pass.",
        method="Count over the ledger; no chance error",
        sample="attempts",
    ),
    _value(
        "data.overlap_pairs",
        "Private images in the holdout",
        "pairs",
        "lower",
        "synguard",
        "Pairs of a private and a holdout image with the same patient or the same bytes. One spoils the holdout.",
        sample="holdout images",
    ),
    _value(
        "data.overlap_images",
        "Near copies removed from the holdout",
        "share",
        "lower",
        "synguard",
        "Share of the holdout images that were removed since they are copies of private ones.",
        sample="holdout images",
    ),
)
